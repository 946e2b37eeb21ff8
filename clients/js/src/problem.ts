/** An invalid value of a request. */
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

/** An error response of the server (RFC 9457). `code` is stable. */
export class RowlinkError extends Error {
  readonly code: string;
  /** One entry per invalid value. */
  readonly errors: FieldError[];
  readonly requestId: string | undefined;

  constructor(
    body: Body,
    /** HTTP status; 0 without a response. */
    readonly status = 0,
    /** Seconds to wait before a retry, from `Retry-After`. */
    readonly retryAfter?: number,
  ) {
    super(body.detail);
    // Minifiers rename classes, so the name is fixed: use `instanceof` or `code` to distinguish errors.
    this.name = "RowlinkError";
    this.code = body.code ?? "unknown";
    this.errors = body.errors ?? [];
    this.requestId = body.request_id;
  }
}

/** 401: the credential is missing, invalid or expired. */
export class SignInError extends RowlinkError {}
/** 403: the caller has no permission. */
export class ForbiddenError extends RowlinkError {}
/** 410: the link expired or was revoked. */
export class GoneError extends RowlinkError {}
/** 422: invalid values; see `errors`. */
export class InvalidError extends RowlinkError {}
/** 429 and 503: a limit was reached, or the service is unavailable; see `retryAfter`. */
export class BusyError extends RowlinkError {}
/** `unreachable`: no response, or CORS does not allow this page to read it. */
export class UnreachableError extends RowlinkError {}
/** `incomplete`: the file is truncated. */
export class IncompleteError extends RowlinkError {}

const errorClasses: Record<number, typeof RowlinkError> = {
  401: SignInError,
  403: ForbiddenError,
  410: GoneError,
  422: InvalidError,
  429: BusyError,
  503: BusyError,
};

/** Converts an error response to an error. A body that is not JSON, such as a proxy's, becomes status and reason. */
export async function toError(response: Response): Promise<RowlinkError> {
  const { status, statusText, headers } = response;
  const body: Body = await response.json().catch(() => ({ detail: `${status} ${statusText}` }));
  return new (errorClasses[status] ?? RowlinkError)(body, status, Number(headers.get("retry-after")) || undefined);
}
