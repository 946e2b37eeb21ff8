import { useState } from "react";
import { useExport } from "@rowlink/client/react";
import { OwnBar } from "./OwnBar.jsx";

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
          </select>
        </label>
        <button disabled={status === "issuing"}>Export</button>
      </form>
      <p role="status">{status === "started" && "Your browser downloads the file."}</p>
      {error && (
        <p role="alert">
          {error.errors?.length ? error.errors.map((it) => `${it.field}: ${it.message}`).join("; ") : error.message}
        </p>
      )}
      <OwnBar rowlink={rowlink} request={request} />
    </main>
  );
}
