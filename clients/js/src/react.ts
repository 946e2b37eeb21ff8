import { useCallback, useEffect, useRef, useState } from "react";
import type { Link, LinkRequest, Rowlink } from "./index.js";

/** The state of an export. `started`: the browser is downloading. */
export type ExportStatus = "idle" | "issuing" | "started" | "failed";

export interface Export {
  status: ExportStatus;
  /** The reason of a failure: a `RowlinkError`, except for bugs. */
  error: Error | null;
  /** Issues the link and starts the browser download. */
  start: (linkOrRequest: Link | LinkRequest) => Promise<void>;
}

/** Returns the state of an Export button. A second start and an unmount abort the pending request. */
export function useExport(rowlink: Rowlink): Export {
  const [state, setState] = useState<Pick<Export, "status" | "error">>({ status: "idle", error: null });
  const pending = useRef<AbortController | null>(null);
  useEffect(() => () => pending.current?.abort(), []);
  const start = useCallback(
    async (linkOrRequest: Link | LinkRequest) => {
      pending.current?.abort();
      const { signal } = (pending.current = new AbortController());
      setState({ status: "issuing", error: null });
      try {
        await rowlink.download(linkOrRequest, { signal });
        setState({ status: "started", error: null });
      } catch (error) {
        if (!signal.aborted) setState({ status: "failed", error: error as Error });
      }
    },
    [rowlink],
  );
  return { ...state, start };
}
