import { lineCounter, parse } from "./csv.js";
import type { Rowlink } from "./index.js";
import { IncompleteError } from "./problem.js";
import type { Link, LinkRequest, Preview, PreviewOptions, Progress, SaveOptions } from "./types.js";

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/**
 * Streams into a file that the user chooses, for a bar of your own, in memory that does not grow with it. The
 * file gets its content once that is whole. Where the browser has no such files it downloads as `download` does,
 * and `null` comes back.
 */
export async function saveAs(
  rowlink: Rowlink,
  what: Link | LinkRequest,
  options: SaveOptions = {},
): Promise<Progress | null> {
  const { showSaveFilePicker } = globalThis as { showSaveFilePicker?: Picker };
  let { file } = options;
  if (!file) {
    if (!showSaveFilePicker) return rowlink.download(what, options).then(() => null);
    const name = "url" in what ? what.filename : `${what.filename ?? what.export}.${what.format}`;
    // First of all: the browser asks only soon after a click.
    file = await showSaveFilePicker({ suggestedName: name });
  }
  const opened = await rowlink.open("url" in what ? what : { estimate: true, ...what }, options);
  const { link, request, answer } = opened;
  const isCsv = link.content_type.startsWith("text/csv");
  const header = request?.csv?.header === false ? 0 : 1;
  const count = lineCounter();
  // Of a file that is compressed on its way the length says nothing here.
  const length = request?.length ? Number(answer.headers.get("content-length")) : null;
  const progress: Progress = {
    bytes: 0,
    rows: isCsv ? 0 : null,
    expectedBytes: length ?? link.estimated_bytes ?? null,
    expectedRows: link.estimated_rows ?? null,
  };
  const meter = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, out) {
      progress.bytes += piece.length;
      if (isCsv) progress.rows = Math.max(0, count(piece) - header);
      options.onProgress?.({ ...progress });
      out.enqueue(piece);
    },
  });
  // A pipe that breaks leaves the file as it was.
  const pipe = answer.body!.pipeThrough(meter).pipeTo(await file.createWritable(), signalOf(options));
  await pipe.catch(broken(options.signal));
  return progress;
}

/** The first rows of an export. The rest is not read, and its query ends. */
export async function preview(
  rowlink: Rowlink,
  request: Omit<LinkRequest, "format">,
  options: PreviewOptions = {},
): Promise<Preview> {
  const { rows = 20, signal } = options;
  const csv = { ...request.csv, delimiter: ",", bom: false, header: true } as const;
  const { answer } = await rowlink.open({ ...request, format: "csv", csv, end_line: false }, signalOf(options));
  const reader = answer.body!.getReader();
  const decoder = new TextDecoder();
  const count = lineCounter();
  let text = "";
  let lines = 0;
  // The header, and one more than is shown, to know whether there is one.
  while (lines < rows + 2) {
    const { done, value } = await reader.read().catch(broken(signal));
    if (done) break;
    text += decoder.decode(value, { stream: true });
    lines = count(value);
  }
  reader.cancel().catch(() => {});
  const [columns = [], ...parsed] = parse(text, rows + 1);
  return { columns, rows: parsed, more: lines > rows + 1 };
}

function signalOf({ signal }: { signal?: AbortSignal | undefined }) {
  return signal ? { signal } : {};
}

/** What a stream says that ends early, unless whoever reads it wanted that. */
function broken(signal?: AbortSignal) {
  return (error: Error): never => {
    if (signal?.aborted) throw error;
    throw new IncompleteError({ code: "incomplete", detail: error.message });
  };
}
