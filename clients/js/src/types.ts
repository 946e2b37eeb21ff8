/** A value of a filter. `null` is as if the filter were left out. */
export type Scalar = string | number | boolean;
export type Filter = Scalar | readonly Scalar[] | null;

/** What is asked for, as the HTTP interface names it. */
export interface LinkRequest {
  export: string;
  format: "csv" | "xlsx" | "ndjson" | "parquet";
  filters?: Record<string, Filter>;
  /** Seconds. */
  expires_in?: number;
  filename?: string | null;
  columns?: readonly string[];
  /** An IANA name, such as `Europe/Berlin`. */
  timezone?: string;
  /** The last line of a CSV, or of NDJSON, proves that it is whole. */
  end_line?: boolean;
  /** A CSV, or NDJSON, comes with its length, so that the browser shows a percentage; the query runs twice. */
  length?: "exact" | undefined;
  /** The link says about how large the file will be. */
  estimate?: boolean;
  csv?: {
    delimiter?: "," | ";" | "|" | "\t";
    bom?: boolean;
    header?: boolean;
    null?: string;
    decimal_comma?: boolean;
    formula_guard?: boolean;
  };
  xlsx?: { compact?: boolean };
  ndjson?: { large_numbers?: "number" | "string" };
  user?: string;
  /** When the link begins to be valid: `2026-01-31T10:00:00Z`. */
  not_before?: string;
  /** The address or network that the link works from. */
  ip?: string;
  /** A larger file is refused, or breaks; it is never cut to fit. */
  max_rows?: number;
  max_bytes?: number;
  /** The URL hides what the link says. */
  seal?: boolean;
}

/** A signed link. Whoever has the URL has the file, until it expires. */
export interface Link {
  readonly url: string;
  readonly link_id: string;
  readonly expires_at: string;
  readonly expires_in: number;
  readonly filename: string;
  readonly content_type: string;
  /** With `estimate` only; `null` where it is not known soon. */
  readonly estimated_rows?: number | null;
  /** Before compression; `null` for XLSX and Parquet. */
  readonly estimated_bytes?: number | null;
  /** After `partial-count` there is more than was counted. */
  readonly estimated_by?: "planner" | "count" | "partial-count" | null;
}

/** How far a download is. */
export interface Progress {
  bytes: number;
  /** Of a CSV, without its header, or of NDJSON; `null` otherwise. */
  rows: number | null;
  /** What it will be: exactly with `length`, about otherwise; `null` where nobody knows, as for XLSX and Parquet. */
  expectedBytes: number | null;
  expectedRows: number | null;
}

/** The first rows of a file. */
export interface Preview {
  columns: string[];
  rows: string[][];
  /** Whether there are more. */
  more: boolean;
}

/** A deployment, and who asks it. */
export interface Options {
  /** Where Rowlink is; without it, where the page is. */
  baseUrl?: string;
  /** A JSON Web Token, or what gets one. Without it the browser's cookies go along. */
  token?: string | (() => string | Promise<string>);
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** An answer whose body is the file. */
export interface Opened {
  link: Link;
  /** What was asked for, where that is known. */
  request: LinkRequest | undefined;
  answer: Response;
}

export interface SaveOptions extends CallOptions {
  /** An error of its own is reported, and breaks nothing. */
  onProgress?: (progress: Progress) => void;
  /** Where to write; without it the user is asked. */
  file?: FileSystemFileHandle;
}

export interface PreviewOptions extends CallOptions {
  /** How many rows, 20 without it. */
  rows?: number;
}
