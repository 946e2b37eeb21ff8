import { useState } from "react";
import { useExport } from "@rowlink/client/react";
import { SaveWithProgress } from "./SaveWithProgress.jsx";

export function App({ rowlink }) {
  const [from, setFrom] = useState("2026-01-01");
  const [format, setFormat] = useState("csv");
  const request = { export: "orders", format, filters: { from } };
  const { status, error, start } = useExport(rowlink);
  return (
    <main>
      <h1>Orders</h1>
      <form onSubmit={(event) => { event.preventDefault(); start(request); }}>
        <label>
          From
          <input type="date" value={from} onChange={(event) => setFrom(event.target.value)} />
        </label>
        <label>
          Format
          <select value={format} onChange={(event) => setFormat(event.target.value)}>
            <option value="csv">CSV</option>
            <option value="xlsx">Excel</option>
            <option value="tsv">TSV</option>
            <option value="json">JSON</option>
            <option value="ndjson">NDJSON</option>
          </select>
        </label>
        <button disabled={status === "issuing"}>Export</button>
      </form>
      <p role="status">{status === "started" && "Your browser is downloading the file."}</p>
      {error && (
        <p role="alert">
          {error.errors?.length ? error.errors.map((it) => `${it.field}: ${it.message}`).join("; ") : error.message}
        </p>
      )}
      <SaveWithProgress rowlink={rowlink} request={request} />
    </main>
  );
}
