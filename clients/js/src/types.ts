/** One value of a filter. */
export type Scalar = string | number | boolean;
/** A filter. `null` means the filter is not set. */
export type Filter = Scalar | readonly Scalar[] | null;

/** File formats. `parquet` only if the export offers it, `zip` only for exports of several sheets. */
export type Format = "csv" | "tsv" | "xlsx" | "ndjson" | "json" | "parquet" | "zip";

/** The body of `POST /v1/links`. */
export interface LinkRequest {
  export: string;
  /** Absent for a stored document. */
  format?: Format;
  filters?: Record<string, Filter>;
  /** Lifetime of the link in seconds. */
  expires_in?: number;
  filename?: string | null;
  columns?: readonly string[];
  /** IANA time zone, such as `Europe/Berlin`. */
  timezone?: string;
  /** Language of titles and labels, such as `de-AT`. Default: the best match of the request's `Accept-Language`, or the export's. */
  language?: string;
  /** Appends an integrity line with row count and SHA-256. Only for CSV, TSV and NDJSON. */
  end_line?: boolean;
  /**
   * Adds a `Content-Length`, so that the browser shows a percentage. The query runs twice.
   * A download that breaks can then be continued.
   */
  length?: "exact" | undefined;
  /** Whether the file is stored: as the export says, never, or whatever its size. */
  delivery?: "auto" | "stream" | "stored";
  /** Starts the query now, so that the link leads to a complete file in the store later. See `prepare`. */
  prepare?: boolean;
  /** Adds an estimate of the file's size to the link. */
  estimate?: boolean;
  csv?: {
    /** The form that Excel reads in a country. The other options take precedence. */
    preset?: "excel-de" | "excel-fr" | "excel-us" | "none";
    delimiter?: "," | ";" | "|" | "\t";
    bom?: boolean;
    header?: boolean;
    null?: string;
    decimal_comma?: boolean;
    timestamps?: "rfc3339" | "spreadsheet";
    formula_guard?: boolean;
  };
  xlsx?: { compact?: boolean; title_block?: boolean; table?: boolean; total_label?: string };
  parquet?: { compat?: "spark" };
  zip?: { entries?: "csv" | "tsv" | "ndjson" | "json" | "parquet" };
  tsv?: { header?: boolean; formula_guard?: boolean };
  ndjson?: { large_numbers?: "number" | "string" };
  json?: { large_numbers?: "number" | "string" };
  /** User id for the query. Only for credentials that may act for other users. */
  user?: string;
  /** Values of claims that the export pins; only with an API key that may set them. */
  claims?: Record<string, string | number | boolean> | null;
  /** Start of validity, such as `2026-01-31T10:00:00Z`. */
  not_before?: string;
  /** Client address or network (CIDR) that may use the link. */
  ip?: string;
  /** A larger file is refused or aborted, never silently truncated. */
  max_rows?: number;
  max_bytes?: number;
  /** For how many seconds after its expiry a download that has begun may be continued. Needs `length: "exact"` or a server that keeps files. */
  resume_seconds?: number;
  /** Whether the link works only once. */
  single_use?: boolean;
  /** A browser that opens the link shows a page with a button first, so that mail scanners do not download the file. */
  confirm?: boolean;
  /** The link works only in the browser that requests it, which keeps a cookie. */
  bind?: "cookie";
  /** Why the user wants the file, for the log: at most 200 characters. Some exports require it; see `Export.reason`. */
  reason?: string;
  /** Encrypts the contents of the link in its URL. */
  seal?: boolean;
}

/** An export that the caller may use. */
export interface Export {
  readonly name: string;
  readonly title: string;
  readonly description: string | null;
  readonly formats: readonly string[];
  readonly filters: readonly ExportFilter[];
  readonly columns: readonly { readonly name: string; readonly label: string }[];
  /** The queries of an export that has several. */
  readonly sheets?: readonly {
    readonly name: string;
    readonly title: string;
    readonly columns: readonly { readonly name: string; readonly label: string }[];
  }[];
  /** Whether a request needs a `reason`. Absent from older servers. */
  readonly reason?: "required" | "optional";
}

/** A value that a request may give. Bounds and defaults are texts, as in a link. */
export interface ExportFilter {
  readonly name: string;
  readonly type: "text" | "integer" | "decimal" | "boolean" | "date" | "timestamp" | "uuid";
  readonly required: boolean;
  readonly list: boolean;
  readonly description?: string;
  readonly values?: readonly string[];
  readonly min?: string;
  readonly max?: string;
  readonly max_length?: number;
  readonly pattern?: string;
  readonly default?: readonly string[];
}

/** A signed link. Any holder of the URL can download the file until the link expires. */
export interface Link {
  readonly url: string;
  readonly link_id: string;
  readonly expires_at: string;
  readonly expires_in: number;
  readonly filename: string;
  readonly content_type: string;
  /** Only with `estimate`; `null` if no estimate is available in time. */
  readonly estimated_rows?: number | null;
  /** Size before compression; `null` for XLSX and Parquet. */
  readonly estimated_bytes?: number | null;
  /** `partial-count`: the file is larger than the count. */
  /** `planner` is a guess: write "about". `count` is exact; with `partial-count` there are more rows. */
  readonly estimated_by?: "planner" | "count" | "partial-count" | null;
  /** The state of the file. Only with `prepare`. */
  readonly file?: FileState;
}

/** The state of a prepared file. */
export interface FileState {
  readonly state: "absent" | "preparing" | "ready" | "failed" | "cancelled";
  /** So far, or of the complete file. */
  readonly rows: number | null;
  readonly bytes: number | null;
  /** The planner's guess of all rows and bytes, if there is one. */
  readonly estimated_rows: number | null;
  readonly estimated_bytes: number | null;
  readonly sha256: string | null;
  /** The code of the problem, if the file failed. */
  readonly code: string | null;
}

/** The state of an export. `preparing`: the server stores the file. `started`: the browser is downloading. */
export type ExportStatus = "idle" | "issuing" | "preparing" | "started" | "failed";
/** The status of `<rowlink-export>`. `downloading`: the page saves the file. `done`: it is saved. */
export type ElementStatus = ExportStatus | "downloading" | "done";

/** The progress of a download. */
export interface Progress {
  bytes: number;
  /** Rows of CSV (without the header) and NDJSON; `null` for other formats. */
  rows: number | null;
  /**
   * Size of the file: exact with `length`, else an estimate; `null` if unknown, as for XLSX and Parquet. An estimate of
   * `planner` is a guess: `bytes` may exceed it, or end far below.
   */
  expectedBytes: number | null;
  expectedRows: number | null;
  /** How often the download was continued after a broken connection, since its last byte: a page can show that it waits. */
  retries: number;
}

/** The progress of `<rowlink-export>`, of the server's preparation or of the download. `null` is unknown. */
export interface ElementProgress extends Omit<Progress, "bytes"> {
  bytes: number | null;
}

/** The event `rowlink-link`. If it is cancelled, the link is not used. */
export interface LinkDetail {
  link: Link;
  request: LinkRequest;
  /** What `source` could not express in the request. */
  unsupported: readonly Unsupported[];
}

/** The event `rowlink-done`. `started`: the browser downloads the file; its end is not known to the page. */
export interface DoneDetail {
  status: "started" | "done";
  progress: Progress | null;
}

/** The event `rowlink-error`. */
export interface ErrorDetail {
  /** The code of the problem; `unknown` for bugs. */
  code: string;
  error: Error;
}

/** What a grid shows, as a part of a request for a link. */
export interface GridRequest {
  filters: Record<string, Filter>;
  columns: readonly string[];
  /** What the request cannot express, so that the file differs from the grid. */
  unsupported: readonly Unsupported[];
}

/** A part of a grid's state that a request cannot express. */
export interface Unsupported {
  kind: "filter" | "search" | "sort" | "group";
  /** The grid's column, if the part belongs to one. */
  column: string | null;
  message: string;
}

/** The first rows of a file. */
export interface Preview {
  columns: string[];
  rows: string[][];
  /** Whether more rows exist. */
  more: boolean;
}

/** The deployment and its credential. */
export interface Options {
  /** URL of Rowlink. Default: the origin of the page. */
  baseUrl?: string;
  /** A JSON Web Token, or a function that returns one. Without it the browser sends its cookies. */
  token?: string | (() => string | Promise<string>);
  /** Requests links elsewhere, such as from an endpoint of the application that has the credential. */
  requestLink?: (request: LinkRequest, options: CallOptions) => Promise<Link>;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** A response whose body is the file. */
export interface Opened {
  link: Link;
  /** The request of the link, if this client issued it. */
  request: LinkRequest | undefined;
  answer: Response;
}

export interface SaveOptions extends CallOptions {
  /** Called for each chunk. An exception goes to `reportError` and does not stop the download. */
  onProgress?: (progress: Progress) => void;
  /** How often to try to continue without getting any further. Default: 5. Needs `length: "exact"` or a server that keeps files. */
  retries?: number;
  /** Target file. Without it the user chooses one. */
  file?: FileSystemFileHandle;
}

export interface PrepareOptions extends CallOptions {
  /** Called when the state of the file is known, and about every second until it is ready. */
  onProgress?: (file: FileState) => void;
}

export interface PreviewOptions extends CallOptions {
  /** Number of rows. Default: 20. */
  rows?: number;
}
