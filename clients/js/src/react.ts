import { useCallback, useEffect, useRef, useState } from "react";
import type { ExportStatus, FileState, Link, LinkRequest, Rowlink } from "./index.js";
import { prepare } from "./prepare.js";

export type { ExportStatus } from "./types.js";

export interface Export {
  status: ExportStatus;
  /** The reason of a failure: a `RowlinkError`, except for bugs. */
  error: Error | null;
  /** The state of the file, for requests with `prepare`. */
  file: FileState | null;
  /** Issues the link, waits until the file is ready if the request has `prepare`, and starts the browser download. */
  start: (linkOrRequest: Link | LinkRequest) => Promise<void>;
}

/** Returns the state of an Export button. A second start and an unmount abort the pending request. */
export function useExport(rowlink: Rowlink): Export {
  const [state, setState] = useState<Omit<Export, "start">>({ status: "idle", error: null, file: null });
  const pending = useRef<AbortController | null>(null);
  useEffect(() => () => pending.current?.abort(), []);
  const start = useCallback(
    async (linkOrRequest: Link | LinkRequest) => {
      pending.current?.abort();
      const { signal } = (pending.current = new AbortController());
      setState({ status: "issuing", error: null, file: null });
      try {
        let source = linkOrRequest;
        if (!("url" in source) && source.prepare) {
          const onProgress = (file: FileState) => setState({ status: "preparing", error: null, file });
          source = await prepare(rowlink, source, { signal, onProgress });
        }
        await rowlink.download(source, { signal });
        setState(({ file }) => ({ status: "started", error: null, file }));
      } catch (error) {
        if (!signal.aborted) setState(({ file }) => ({ status: "failed", error: error as Error, file }));
      }
    },
    [rowlink],
  );
  return { ...state, start };
}
