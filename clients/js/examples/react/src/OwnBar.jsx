import { useState } from "react";
import { saveAs } from "@rowlink/client/save";

const number = new Intl.NumberFormat("en");

/** A bar of the application's own: rows so far against the estimate. */
export function OwnBar({ rowlink, request }) {
  const [progress, setProgress] = useState(null);
  const [said, setSaid] = useState("");

  async function save() {
    setSaid("Saving…");
    try {
      const done = await saveAs(rowlink, request, { onProgress: setProgress });
      setSaid(done ? "Saved." : "Your browser downloads the file.");
    } catch (error) {
      // Whoever closes the browser's dialogue wants no file.
      setSaid(error.name === "AbortError" ? "" : error.message);
    }
  }

  return (
    <section>
      <button type="button" disabled={said === "Saving…"} onClick={save}>Save with a bar</button>
      {progress && (
        <label>
          {number.format(progress.rows ?? 0)} rows, {number.format(progress.bytes)} bytes
          <progress value={progress.bytes} max={progress.expectedBytes ?? undefined} />
        </label>
      )}
      <p role="status">{said}</p>
    </section>
  );
}
