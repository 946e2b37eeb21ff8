import { QUOTE, lineCounter, parse } from "./csv.js";
import { get } from "./get.js";
import type { Rowlink } from "./index.js";
import { IncompleteError, RowlinkError } from "./problem.js";
import type { Link, LinkRequest, Opened, Preview, PreviewOptions, Progress, SaveOptions } from "./types.js";

type FileHandle = FileSystemFileHandle & { remove?: () => Promise<void> };
type FilePicker = (options: { suggestedName: string }) => Promise<FileHandle>;

/**
 * Streams the file to a location that the user chooses and reports progress. Memory use does not depend on the size.
 * With `length: "exact"`, or if the server keeps files, it continues after a broken connection.
 * The browser empties an existing file as soon as the user chooses it; a failed download removes the file. Without
 * the File System Access API it calls `download` and returns `null`.
 */
export async function saveAs(
  rowlink: Rowlink,
  linkOrRequest: Link | LinkRequest,
  options: SaveOptions = {},
): Promise<Progress | null> {
  const { showSaveFilePicker } = globalThis as { showSaveFilePicker?: FilePicker };
  if (options.file) return save(rowlink, linkOrRequest, options.file, options);
  if (!showSaveFilePicker) return rowlink.download(linkOrRequest, options).then(() => null);
  // The picker comes first: browsers only show it shortly after a click.
  const file = await showSaveFilePicker({ suggestedName: suggestedName(linkOrRequest) });
  return save(rowlink, linkOrRequest, file, options).catch(async (error) => {
    await file.remove?.().catch(() => {});
    throw error;
  });
}

async function save(
  rowlink: Rowlink,
  linkOrRequest: Link | LinkRequest,
  file: FileSystemFileHandle,
  options: SaveOptions,
): Promise<Progress> {
  const target = await file.createWritable();
  try {
    // No integrity line is needed: `fetch` reports a truncated stream. A stored document has no options.
    const isRows = !("url" in linkOrRequest) && linkOrRequest.format;
    const source = isRows ? { estimate: true, ...linkOrRequest, end_line: false } : linkOrRequest;
    const opened = await rowlink.open(source, options);
    const progress = await saveAll(opened, target, options);
    await target.close();
    return progress;
  } catch (error) {
    await target.abort().catch(() => {});
    throw error;
  }
}

function suggestedName(linkOrRequest: Link | LinkRequest): string {
  if ("url" in linkOrRequest) return linkOrRequest.filename;
  const { filename, format } = linkOrRequest;
  const name = filename ?? linkOrRequest.export;
  return !format || name.endsWith(`.${format}`) ? name : `${name}.${format}`;
}

function initialProgress({ link, request, answer }: Opened): Progress {
  // Without `length`, `Content-Length` may be the compressed size. A partial count is too small.
  const length = request?.length && Number(answer.headers.get("content-length"));
  const estimated = link.estimated_by !== "partial-count";
  return {
    bytes: 0,
    rows: rowCounter(link) ? 0 : null,
    expectedBytes: length || (estimated && link.estimated_bytes) || null,
    expectedRows: (estimated && link.estimated_rows) || null,
    retries: 0,
  };
}

/** Writes the file, and continues after a broken connection if the server can tell whether the file is the same. */
async function saveAll(opened: Opened, target: FileSystemWritableFileStream, options: SaveOptions): Promise<Progress> {
  const { link } = opened;
  const credentials = opened.request?.bind ? "include" : "omit";
  const { signal, retries = 5 } = options;
  const header = link.content_type.includes("header=present") ? 1 : 0;
  let { answer } = opened;
  let progress = initialProgress(opened);
  let count = rowCounter(link);
  let failures = 0;
  let furthest = 0;

  function tell() {
    try {
      options.onProgress?.({ ...progress });
    } catch (error) {
      reportError(error);
    }
  }

  /** Writes a response; returns the error of its connection, if that breaks. */
  async function copy(): Promise<{ error: Error } | undefined> {
    const reader = answer.body!.getReader();
    for (;;) {
      const next = await reader.read().catch((error: Error) => ({ error }));
      if ("error" in next) return next;
      if (next.done) return undefined;
      const piece = { type: "write", position: progress.bytes, data: next.value as BufferSource } as const;
      await target.write(piece).catch((error) => {
        // Ends the query of a file that cannot be written.
        reader.cancel().catch(() => {});
        throw error;
      });
      progress.bytes += next.value.length;
      // The bytes of a file that starts again are no progress until they are more than before.
      if (progress.bytes > furthest) {
        furthest = progress.bytes;
        failures = progress.retries = 0;
      }
      if (count) progress.rows = Math.max(0, count(next.value) - header);
      tell();
    }
  }

  /** Requests the rest of the file: 206, or 200 with the whole one if the rows have changed. */
  async function continueAfter(broken: Error): Promise<Response> {
    const entityTag = answer.headers.get("etag");
    for (;;) {
      if (!entityTag || failures >= retries) return toIncomplete(signal)(broken);
      progress.retries = ++failures;
      tell();
      const { retryAfter } = broken as Partial<RowlinkError>;
      await pause(Math.min(retryAfter ?? 2 ** (failures - 1), 60), signal);
      const headers = { Range: `bytes=${progress.bytes}-`, "If-Range": entityTag };
      try {
        const next = await get(link.url, { headers, credentials, signal });
        const start = next.headers.get("content-range")?.match(/^bytes (\d+)-/)?.[1];
        if (next.status === 206 && Number(start) !== progress.bytes) {
          throw new IncompleteError({ code: "incomplete", detail: "the server sent another part of the file" });
        }
        return next;
      } catch (error) {
        if (!isTemporary(error)) throw error;
        broken = error;
      }
    }
  }

  for (;;) {
    const broken = await copy();
    if (!broken) return progress;
    signal?.throwIfAborted();
    answer = await continueAfter(broken.error);
    if (answer.status !== 206) {
      await target.truncate(0);
      progress = { ...initialProgress({ ...opened, answer }), retries: failures };
      count = rowCounter(link);
    }
  }
}

function isTemporary(error: unknown): error is RowlinkError {
  return error instanceof RowlinkError && (error.code === "unreachable" || error.status === 429 || error.status >= 500);
}

/** Waits; throws the reason of an abort. */
async function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal?.addEventListener("abort", end);
  });
  signal?.throwIfAborted();
}

/** Returns a line counter for CSV and NDJSON, else `null`. */
function rowCounter({ content_type }: Link) {
  if (content_type.startsWith("text/csv")) return lineCounter(QUOTE);
  return content_type === "application/x-ndjson" ? lineCounter() : null;
}

/** Returns the first rows of an export, then cancels the download and with it the query. */
export async function preview(
  rowlink: Rowlink,
  request: Omit<LinkRequest, "format">,
  options: PreviewOptions = {},
): Promise<Preview> {
  const { rows = 20, signal } = options;
  const csv = { ...request.csv, delimiter: ",", bom: false, header: true } as const;
  const csvRequest = { ...request, format: "csv", csv, end_line: false, estimate: false } as const;
  const { answer } = await rowlink.open({ ...csvRequest, length: undefined }, { signal });
  const reader = answer.body!.getReader();
  const decoder = new TextDecoder();
  const count = lineCounter(QUOTE);
  let text = "";
  let lines = 0;
  // Reads the header and one row more than `rows`, to know whether more rows exist.
  while (lines < rows + 2) {
    const { done, value } = await reader.read().catch(toIncomplete(signal));
    if (done) break;
    text += decoder.decode(value, { stream: true });
    lines = count(value);
  }
  reader.cancel().catch(() => {});
  const [columns = [], ...parsed] = parse(text, rows + 1);
  return { columns, rows: parsed, more: lines > rows + 1 };
}

/** Converts a stream error to an `IncompleteError`, unless the caller aborted. */
function toIncomplete(signal?: AbortSignal) {
  return (error: Error): never => {
    if (signal?.aborted) throw error;
    throw new IncompleteError({ code: "incomplete", detail: error.message });
  };
}
