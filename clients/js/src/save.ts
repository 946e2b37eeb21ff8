import { QUOTE, lineCounter, parse } from "./csv.js";
import type { Rowlink } from "./index.js";
import { IncompleteError } from "./problem.js";
import type { Link, LinkRequest, Opened, Preview, PreviewOptions, Progress, SaveOptions } from "./types.js";

type Picked = FileSystemFileHandle & { remove?: () => Promise<void> };
type Picker = (options: { suggestedName: string }) => Promise<Picked>;

/**
 * Streams into a file that the user chooses, for a bar of your own, in memory that does not grow with it. The
 * browser empties a file that was there as soon as it is chosen; if the download fails, none is left. Where the
 * browser has no such files it downloads as `download` does, and `null` comes back.
 */
export async function saveAs(
  rowlink: Rowlink,
  what: Link | LinkRequest,
  options: SaveOptions = {},
): Promise<Progress | null> {
  const { showSaveFilePicker } = globalThis as { showSaveFilePicker?: Picker };
  if (options.file) return save(rowlink, what, options.file, options);
  if (!showSaveFilePicker) return rowlink.download(what, options).then(() => null);
  // First of all: the browser asks only soon after a click.
  const file = await showSaveFilePicker({ suggestedName: nameOf(what) });
  return save(rowlink, what, file, options).catch(async (error) => {
    await file.remove?.().catch(() => {});
    throw error;
  });
}

async function save(
  rowlink: Rowlink,
  what: Link | LinkRequest,
  file: FileSystemFileHandle,
  options: SaveOptions,
): Promise<Progress> {
  const target = await file.createWritable();
  try {
    // No end line: the browser sees how the stream ends.
    const asked = "url" in what ? what : { estimate: true, ...what, end_line: false };
    const opened = await rowlink.open(asked, options);
    const progress = start(opened);
    const pipe = opened.answer.body!.pipeThrough(meter(opened, progress, options)).pipeTo(target, { signal: options.signal });
    await pipe.catch(broken(options.signal));
    return progress;
  } catch (error) {
    await target.abort().catch(() => {});
    throw error;
  }
}

function nameOf(what: Link | LinkRequest): string {
  if ("url" in what) return what.filename;
  const { filename, format } = what;
  const name = filename ?? what.export;
  return name.endsWith(`.${format}`) ? name : `${name}.${format}`;
}

function start({ link, request, answer }: Opened): Progress {
  // Of a file that is compressed on its way the length says nothing here, and a count that was stopped is too small.
  const length = request?.length && Number(answer.headers.get("content-length"));
  const estimated = link.estimated_by !== "partial-count";
  return {
    bytes: 0,
    rows: counter(link) ? 0 : null,
    expectedBytes: length || (estimated && link.estimated_bytes) || null,
    expectedRows: (estimated && link.estimated_rows) || null,
  };
}

function meter({ link }: Opened, progress: Progress, { onProgress }: SaveOptions) {
  const count = counter(link);
  const header = link.content_type.includes("header=present") ? 1 : 0;
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, out) {
      progress.bytes += piece.length;
      if (count) progress.rows = Math.max(0, count(piece) - header);
      try {
        onProgress?.({ ...progress });
      } catch (error) {
        reportError(error);
      }
      out.enqueue(piece);
    },
  });
}

/** What counts the lines of a file that has some. */
function counter({ content_type }: Link) {
  if (content_type.startsWith("text/csv")) return lineCounter(QUOTE);
  return content_type === "application/x-ndjson" ? lineCounter() : null;
}

/** The first rows of an export. The rest is not read, and its query ends. */
export async function preview(
  rowlink: Rowlink,
  request: Omit<LinkRequest, "format">,
  options: PreviewOptions = {},
): Promise<Preview> {
  const { rows = 20, signal } = options;
  const csv = { ...request.csv, delimiter: ",", bom: false, header: true } as const;
  const plain = { ...request, format: "csv", csv, end_line: false, estimate: false } as const;
  const { answer } = await rowlink.open({ ...plain, length: undefined }, { signal });
  const reader = answer.body!.getReader();
  const decoder = new TextDecoder();
  const count = lineCounter(QUOTE);
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

/** What a stream says that ends early, unless whoever reads it wanted that. */
function broken(signal?: AbortSignal) {
  return (error: Error): never => {
    if (signal?.aborted) throw error;
    throw new IncompleteError({ code: "incomplete", detail: error.message });
  };
}
