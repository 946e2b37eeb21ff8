/** One value that does not fit. */
export interface FieldError {
  field: string;
  message: string;
}

interface Body {
  code?: string;
  detail?: string;
  request_id?: string;
  errors?: FieldError[];
}

/** An answer that is not what was asked for (RFC 9457). `code` is stable. */
export class RowlinkError extends Error {
  readonly code: string;
  /** One entry for each value that does not fit. */
  readonly errors: FieldError[];
  readonly requestId: string | undefined;

  constructor(
    body: Body,
    /** 0 where there was no answer. */
    readonly status = 0,
    /** Seconds to wait before trying again, where the server says so. */
    readonly retryAfter?: number,
  ) {
    super(body.detail);
    // Minifiers shorten the names of classes: tell them by `instanceof`, or by `code`.
    this.name = "RowlinkError";
    this.code = body.code ?? "unknown";
    this.errors = body.errors ?? [];
    this.requestId = body.request_id;
  }
}

/** 401: nobody is signed in, or no longer. */
export class SignInError extends RowlinkError {}
/** 403: whoever asks may not. */
export class ForbiddenError extends RowlinkError {}
/** 410: the link's time is over, or it was revoked. */
export class GoneError extends RowlinkError {}
/** 422: values that do not fit; see `errors`. */
export class InvalidError extends RowlinkError {}
/** 429 and 503: a limit is reached, or the database busy; see `retryAfter`. */
export class BusyError extends RowlinkError {}
/** `unreachable`: there is no answer, or none that this page may read. */
export class UnreachableError extends RowlinkError {}
/** `incomplete`: the file ended before it was whole. */
export class IncompleteError extends RowlinkError {}

const classes: Record<number, typeof RowlinkError> = {
  401: SignInError,
  403: ForbiddenError,
  410: GoneError,
  422: InvalidError,
  429: BusyError,
  503: BusyError,
};

/** The error that an answer tells of, whoever gave it. */
export async function problemOf(answer: Response): Promise<RowlinkError> {
  const { status, statusText, headers } = answer;
  const body: Body = await answer.json().catch(() => ({ detail: `${status} ${statusText}` }));
  return new (classes[status] ?? RowlinkError)(body, status, Number(headers.get("retry-after")) || undefined);
}
