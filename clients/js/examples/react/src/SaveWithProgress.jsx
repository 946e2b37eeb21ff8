import { useState } from "react";
import { saveAs } from "@rowlink/client/save";

const number = new Intl.NumberFormat("en");

/** Shows a progress bar in the page: bytes received against the estimate. */
export function SaveWithProgress({ rowlink, request }) {
  const [progress, setProgress] = useState(null);
  const [message, setMessage] = useState("");

  async function save() {
    setMessage("Saving…");
    try {
      const done = await saveAs(rowlink, request, { onProgress: setProgress });
      setMessage(done ? "Saved." : "Your browser is downloading the file.");
    } catch (error) {
      // The user closed the browser's file dialog.
      setMessage(error.name === "AbortError" ? "" : error.message);
    }
  }

  return (
    <section>
      <button type="button" disabled={message === "Saving…"} onClick={save}>Save with progress bar</button>
      {progress && (
        <label>
          {number.format(progress.rows ?? 0)} rows, {number.format(progress.bytes)} bytes
          <progress value={progress.bytes} max={progress.expectedBytes ?? undefined} />
        </label>
      )}
      <p role="status">{message}</p>
    </section>
  );
}
