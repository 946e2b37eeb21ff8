import { useState } from "react";
import { DataGrid, useGridApiRef } from "@mui/x-data-grid";
import "@rowlink/client/element";
import { readMuiDataGrid } from "@rowlink/client/mui-data-grid";
import { mapping, orders } from "../../orders.js";

const rows = orders.map((order) => ({ ...order, created_at: new Date(order.created_at) }));
const columns = [
  { field: "id", headerName: "Id" },
  { field: "created_at", headerName: "Created", type: "date", width: 130 },
  { field: "status", headerName: "Status", type: "singleSelect", valueOptions: ["pending", "paid", "refunded"] },
  { field: "amount", headerName: "Amount", type: "number" },
  { field: "note", headerName: "Note", flex: 1 },
];

export function App() {
  const apiRef = useGridApiRef();
  const [hasNote, setHasNote] = useState(true);
  return (
    <main>
      <h1>Orders</h1>
      <div className="tools">
        <label>
          <input type="checkbox" checked={hasNote} onChange={(event) => setHasNote(event.target.checked)} />
          Show the note
        </label>
        <rowlink-export
          export="orders"
          formats="csv,xlsx"
          filters={{ from: "2026-01-01" }}
          endpoint="/links"
          source={() => readMuiDataGrid(apiRef.current, mapping)}
        />
      </div>
      <DataGrid apiRef={apiRef} rows={rows} columns={columns} checkboxSelection columnVisibilityModel={{ note: hasNote }} />
    </main>
  );
}
