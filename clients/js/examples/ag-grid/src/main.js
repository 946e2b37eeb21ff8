import { AllCommunityModule, ModuleRegistry, createGrid } from "ag-grid-community";
import "@rowlink/client/element";
import { readAgGrid } from "@rowlink/client/ag-grid";
import { mapping, orders } from "../../orders.js";
import "../../page.css";

ModuleRegistry.registerModules([AllCommunityModule]);

// The comparisons that the export has filters for, and one that it has none for.
const filterOptions = { created_at: ["greaterThanOrEqual"], status: ["equals"], amount: ["lessThan"] };
const grid = createGrid(document.getElementById("grid"), {
  rowData: orders.map((order) => ({ ...order, created_at: new Date(order.created_at) })),
  rowSelection: { mode: "multiRow" },
  columnDefs: [
    { field: "id" },
    { field: "created_at", headerName: "Created", filter: "agDateColumnFilter", filterParams: { filterOptions: filterOptions.created_at } },
    { field: "status", filter: "agTextColumnFilter", filterParams: { filterOptions: filterOptions.status } },
    { field: "amount", filter: "agNumberColumnFilter", filterParams: { filterOptions: filterOptions.amount } },
    { field: "note" },
  ],
  defaultColDef: { floatingFilter: true, flex: 1 },
});

const hasNote = document.getElementById("has-note");
hasNote.onchange = () => grid.setColumnsVisible(["note"], hasNote.checked);
// Read at each click: filters, columns and order as the user sees them then.
document.querySelector("rowlink-export").source = () => readAgGrid(grid, mapping);
