import {
  columnFilteringFeature, columnVisibilityFeature, createColumnHelper, createFilteredRowModel, createSortedRowModel,
  filterFn_arrHas, filterFn_greaterThanOrEqualTo, filterFn_includesString, rowSortingFeature, sortFn_basic, tableFeatures, useTable,
} from "@tanstack/react-table";
import "@rowlink/client/element";
import { readTanStackTable } from "@rowlink/client/tanstack-table";
import { mapping, orders } from "../../orders.js";

const features = tableFeatures({
  columnFilteringFeature,
  columnVisibilityFeature,
  rowSortingFeature,
  filteredRowModel: createFilteredRowModel(),
  sortedRowModel: createSortedRowModel(),
  filterFns: { arrHas: filterFn_arrHas, greaterThanOrEqualTo: filterFn_greaterThanOrEqualTo, includesString: filterFn_includesString },
  sortFns: { basic: sortFn_basic },
});
const helper = createColumnHelper();
const columns = helper.columns([
  helper.accessor("id", { header: "Id", sortFn: "basic" }),
  helper.accessor("created_at", { header: "Created", sortFn: "basic", filterFn: "greaterThanOrEqualTo" }),
  helper.accessor("status", { header: "Status", sortFn: "basic", filterFn: "arrHas" }),
  helper.accessor("amount", { header: "Amount", sortFn: "basic" }),
  helper.accessor("note", { header: "Note", sortFn: "basic", filterFn: "includesString" }),
]);
// The dates of the filter are days, and those of the rows are instants: texts that compare alike.
const initialState = { columnFilters: [{ id: "created_at", value: "2026-01-01" }] };

export function App() {
  const table = useTable({ features, columns, data: orders, initialState });
  const set = (name) => (event) => table.getColumn(name).setFilterValue(event.target.value);
  return (
    <main>
      <h1>Orders</h1>
      <div className="tools">
        <label>From<input type="date" defaultValue="2026-01-01" onChange={set("created_at")} /></label>
        <label>
          Status
          <select onChange={(event) => table.getColumn("status").setFilterValue(event.target.value ? event.target.value.split(",") : undefined)}>
            <option value="">Any</option>
            <option value="paid">Paid</option>
            <option value="pending,refunded">Not paid</option>
          </select>
        </label>
        <label>Note contains<input onChange={set("note")} /></label>
        <label>
          <input type="checkbox" defaultChecked onChange={table.getColumn("note").getToggleVisibilityHandler()} />
          Show the note
        </label>
        <rowlink-export export="orders" formats="csv,xlsx" endpoint="/links" source={() => readTanStackTable(table, mapping)} />
      </div>
      <table>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => (
                <th key={header.id}>
                  <button onClick={header.column.getToggleSortingHandler()}><table.FlexRender header={header} /></button>
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody>
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id}>
              {row.getVisibleCells().map((cell) => <td key={cell.id}><table.FlexRender cell={cell} /></td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </main>
  );
}
