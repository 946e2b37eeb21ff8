import { useCallback, useEffect, useRef, useState } from "react";
import type { Link, LinkRequest, Rowlink } from "./index.js";

/** How far an export is. `started`: the browser downloads. */
export type ExportStatus = "idle" | "issuing" | "started" | "failed";

export interface Export {
  status: ExportStatus;
  /** Why it failed: a `RowlinkError`, but for bugs. */
  error: Error | null;
  /** Issues the link, and lets the browser download. */
  start: (what: Link | LinkRequest) => Promise<void>;
}

/** An Export button's state. The one that runs is given up when another starts, or the component leaves. */
export function useExport(rowlink: Rowlink): Export {
  const [state, setState] = useState<Pick<Export, "status" | "error">>({ status: "idle", error: null });
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const start = useCallback(
    async (what: Link | LinkRequest) => {
      running.current?.abort();
      const { signal } = (running.current = new AbortController());
      setState({ status: "issuing", error: null });
      try {
        await rowlink.download(what, { signal });
        setState({ status: "started", error: null });
      } catch (error) {
        if (!signal.aborted) setState({ status: "failed", error: error as Error });
      }
    },
    [rowlink],
  );
  return { ...state, start };
}
