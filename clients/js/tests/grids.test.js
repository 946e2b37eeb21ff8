// What the readers of grids make of a grid's state. The examples run them with the grids themselves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readAgGrid } from "@rowlink/client/ag-grid";
import { readMuiDataGrid } from "@rowlink/client/mui-data-grid";
import { readTanStackTable } from "@rowlink/client/tanstack-table";

const mapping = {
  columns: { total: "amount", actions: null },
  filters: {
    created_at: { ">=": "from", "<=": "to", "<": (day) => ({ before: `${day}!` }) },
    status: "status",
    id: { in: "ids" },
    note: { contains: "words", empty: "has_no_note", value: "note" },
    total: { "=": "amount" },
    gift: { "=": "gift" },
  },
  search: "text",
  order: [{ column: "created_at" }, { column: "id", desc: true }],
};

/** Returns what `unsupported` names: its kind and its column. */
const kinds = ({ unsupported }) => unsupported.map(({ kind, column }) => `${kind} ${column}`);

function agGrid(model, { columns = [], state = [], params = {}, options = {} } = {}) {
  return readAgGrid({
    getFilterModel: () => model,
    getAllDisplayedColumns: () => columns.map((name) => ({ getColId: () => name })),
    getColumnState: () => state,
    getColumnDef: () => ({ filterParams: params }),
    getGridOption: (name) => options[name],
    getAdvancedFilterModel: () => ({ filterType: "join" }),
  }, mapping);
}

function tanStack(state, { columns = {}, mapping: own = mapping } = {}) {
  const leaves = Object.entries(columns).map(([id, filterFn]) => ({
    id, accessorFn: filterFn === null ? undefined : () => 1, columnDef: { filterFn },
  }));
  return readTanStackTable({ getState: () => state, getAllLeafColumns: () => leaves }, own);
}

function mui(items, { columns = [], sortModel = [], model = {}, state = {} } = {}) {
  return readMuiDataGrid({
    state: { filter: { filterModel: { items, ...model } }, sorting: { sortModel }, ...state },
    getVisibleColumns: () => columns.filter(({ hidden }) => !hidden),
    getAllColumns: () => columns,
  }, mapping);
}

test("columns are those that are visible, in their order, under the names of the export", () => {
  const expected = ["id", "amount", "note"];
  const ag = agGrid({}, { columns: ["ag-Grid-SelectionColumn", "id", "total", "actions", "note"] });
  const tan = tanStack({}, { columns: { select: null, id: "equals", total: undefined, actions: "equals", note: "equals" } });
  const grid = mui([], { columns: [{ field: "__check__" }, { field: "id" }, { field: "total" }, { field: "hidden", hidden: true },
    { field: "menu", type: "actions" }, { field: "note" }] });
  for (const read of [ag, tan, grid]) assert.deepEqual(read, { columns: expected, filters: {}, unsupported: [] });
});

test("pinned columns of TanStack Table stand at the sides", () => {
  const columns = { id: "equals", status: "equals", note: "equals" };
  for (const columnPinning of [{ left: ["note"], right: ["id"] }, { start: ["note"], end: ["id"] }]) {
    assert.deepEqual(tanStack({ columnPinning }, { columns }).columns, ["note", "status", "id"]);
  }
});

test("a filter of AG Grid becomes the filter that its comparison is mapped to", () => {
  const date = (type, dateFrom, dateTo = null) => ({ filterType: "date", type, dateFrom, dateTo });
  for (const [model, filters] of [
    [{ status: { filterType: "text", type: "equals", filter: "paid" } }, { status: "paid" }],
    [{ created_at: date("greaterThanOrEqual", "2026-01-31 00:00:00") }, { from: "2026-01-31" }],
    [{ created_at: date("greaterThanOrEqual", "2026-01-31") }, { from: "2026-01-31" }],
    [{ created_at: date("greaterThanOrEqual", "2026-01-31T09:30:00") }, { from: new Date(2026, 0, 31, 9, 30).toISOString() }],
    [{ created_at: date("lessThan", "2026-01-31 00:00:00") }, { before: "2026-01-31!" }],
    [{ total: { filterType: "number", type: "equals", filter: 0 } }, { amount: 0 }],
    [{ note: { filterType: "text", type: "blank" } }, { has_no_note: true }],
    [{ gift: { filterType: "text", type: "false" } }, { gift: false }],
    [{ status: { filterType: "set", values: ["paid", "pending"] } }, { status: ["paid", "pending"] }],
    [{ id: { filterType: "number", type: "equals", filter: 7 } }, { ids: [7] }],
    [{ total: { filterType: "set", values: [5] } }, { amount: 5 }],
    [{ status: { operator: "OR", conditions: [{ type: "equals", filter: "paid" }, { type: "equals", filter: "pending" }] } },
      { status: ["paid", "pending"] }],
    [{ created_at: { operator: "AND", conditions: [date("greaterThanOrEqual", "2026-01-01 00:00:00"), date("lessThanOrEqual", "2026-01-31 00:00:00")] } },
      { from: "2026-01-01", to: "2026-01-31" }],
  ]) {
    assert.deepEqual(agGrid(model), { columns: [], filters, unsupported: [] }, JSON.stringify(model));
  }
});

test("a range of AG Grid is exclusive unless its column says otherwise", () => {
  const model = { created_at: { filterType: "date", type: "inRange", dateFrom: "2026-01-01 00:00:00", dateTo: "2026-01-31 00:00:00" } };
  assert.deepEqual(agGrid(model, { params: { inRangeInclusive: true } }).filters, { from: "2026-01-01", to: "2026-01-31" });
  const exclusive = agGrid(model);
  assert.deepEqual(exclusive.filters, { before: "2026-01-31!" });
  assert.deepEqual(kinds(exclusive), ["filter created_at"]);
});

test("what AG Grid filters and the mapping lacks is listed", () => {
  for (const [model, column] of [
    [{ status: { filterType: "text", type: "contains", filter: "pa" } }, "status"],
    [{ unknown: { filterType: "text", type: "equals", filter: "x" } }, "unknown"],
    [{ constructor: { filterType: "text", type: "equals", filter: "x" } }, "constructor"],
    [{ created_at: { filterType: "date", type: "last7Days" } }, "created_at"],
    [{ status: { filterType: "multi", filterModels: [] } }, "status"],
    [{ status: { filterType: "set", values: ["paid", null] } }, "status"],
    [{ status: { operator: "OR", conditions: [{ type: "equals", filter: "paid" }, { type: "contains", filter: "x" }] } }, "status"],
  ]) {
    const read = agGrid(model);
    assert.deepEqual([read.filters, kinds(read)], [{}, [`filter ${column}`]], JSON.stringify(model));
    assert.match(read.unsupported[0].message, new RegExp(`^${column}: .+; .+`));
  }
  const options = { quickFilterText: "x", isExternalFilterPresent: () => true, enableAdvancedFilter: true, pivotMode: true };
  const read = agGrid({}, { options, state: [{ colId: "status", rowGroup: true }] });
  assert.deepEqual([read.filters, kinds(read)], [{ text: "x" }, ["filter null", "filter null", "group null", "group status"]]);
});

test("two conditions for one filter of the export are not merged", () => {
  const conditions = [{ type: "equals", filter: "paid" }, { type: "equals", filter: "pending" }];
  const read = agGrid({ status: { operator: "AND", conditions } });
  assert.deepEqual([read.filters, kinds(read)], [{ status: "paid" }, ["filter status"]]);
});

test("an order that is not that of the export is listed", () => {
  const both = [["created_at", "asc"], ["id", "desc"]];
  for (const [order, expected] of [
    [[], []],
    [both, []],
    [both.slice(0, 1), []],
    [[["created_at", "desc"]], ["sort created_at"]],
    [[...both].reverse(), ["sort id", "sort created_at"]],
    [[...both, ["note", "asc"]], ["sort created_at", "sort id", "sort note"]],
  ]) {
    // AG Grid lists columns in the order of the grid.
    const state = order.map(([colId, sort], sortIndex) => ({ colId, sort, sortIndex })).reverse();
    const sorting = order.map(([id, direction]) => ({ id, desc: direction === "desc" }));
    const sortModel = order.map(([field, sort]) => ({ field, sort }));
    for (const read of [agGrid({}, { state }), tanStack({ sorting }), mui([], { sortModel })]) {
      assert.deepEqual(kinds(read), expected, JSON.stringify(order));
    }
  }
});

test("a named filter function of TanStack Table is a comparison", () => {
  for (const [id, filterFn, value, filters] of [
    ["status", "equals", "paid", { status: "paid" }],
    ["status", "arrHas", ["paid", "pending"], { status: ["paid", "pending"] }],
    ["created_at", "greaterThanOrEqualTo", new Date(2026, 0, 31), { from: "2026-01-31" }],
    ["created_at", "betweenInclusive", ["2026-01-01", "2026-01-31"], { from: "2026-01-01", to: "2026-01-31" }],
    ["created_at", "inDateRange", ["2026-01-31", "2026-01-01"], { from: "2026-01-01", to: "2026-01-31" }],
    ["created_at", "inNumberRange", [5, undefined], { from: 5 }],
    ["note", undefined, "gift", { note: "gift" }],
    ["status", "equals", "", {}],
  ]) {
    const read = tanStack({ columnFilters: [{ id, value }] }, { columns: { [id]: filterFn } });
    assert.deepEqual(read, { columns: [id === "total" ? "amount" : id], filters, unsupported: [] }, `${id} ${filterFn}`);
  }
});

test("what TanStack Table filters and the mapping lacks is listed", () => {
  for (const [filterFn, value] of [
    ["includesString", "pa"], ["auto", "paid"], [undefined, "paid"], [() => true, "paid"], ["arrIncludesSome", ["paid"]], ["equals", { a: 1 }],
  ]) {
    const read = tanStack({ columnFilters: [{ id: "status", value }] }, { columns: { status: filterFn } });
    assert.deepEqual([read.filters, kinds(read)], [{}, ["filter status"]], String(filterFn));
  }
  const state = { globalFilter: "x", grouping: ["status"] };
  assert.deepEqual(tanStack(state).filters, { text: "x" });
  assert.deepEqual(kinds(tanStack(state, { mapping: {} })), ["search null", "group status"]);
});

test("a filter of MUI X Data Grid becomes the filter that its operator is mapped to", () => {
  const columns = [{ field: "created_at", type: "date" }, { field: "gift", type: "boolean" }, { field: "status" }, { field: "note" }];
  for (const [item, filters] of [
    // The grid has the day of a date in UTC.
    [{ field: "created_at", operator: "onOrAfter", value: new Date("2026-01-31") }, { from: "2026-01-31" }],
    [{ field: "created_at", operator: "before", value: "2026-01-31" }, { before: "2026-01-31!" }],
    [{ field: "gift", operator: "is", value: "false" }, { gift: false }],
    [{ field: "status", operator: "isAnyOf", value: ["paid", "pending"] }, { status: ["paid", "pending"] }],
    [{ field: "note", operator: "contains", value: "x" }, { words: "x" }],
    [{ field: "note", operator: "isEmpty" }, { has_no_note: true }],
    // The grid does not apply these.
    [{ field: "status", operator: "equals" }, {}],
    [{ field: "status", operator: "isAnyOf", value: [] }, {}],
  ]) {
    const { filters: seen, unsupported } = mui([item], { columns });
    assert.deepEqual([seen, unsupported], [filters, []], JSON.stringify(item));
  }
});

test("what MUI X Data Grid filters and the mapping lacks is listed", () => {
  const paid = { field: "status", operator: "is", value: "paid" };
  const or = { logicOperator: "or" };
  for (const [items, options, filters, expected] of [
    [[{ field: "status", operator: "contains", value: "x" }], {}, {}, ["filter status"]],
    [[{ field: "status", operator: "my own", value: "x" }], {}, {}, ["filter status"]],
    [[paid, { ...paid, value: "pending" }], { model: or }, { status: ["paid", "pending"] }, []],
    [[paid, { field: "note", operator: "contains", value: "x" }], { model: or }, {}, ["filter status"]],
    [[paid], { model: or }, { status: "paid" }, []],
    [[], { model: { quickFilterValues: ["a", "b"] } }, { text: "a b" }, []],
    [[], { model: { quickFilterValues: ["a", "b"], quickFilterLogicOperator: "or" } }, {}, ["search null"]],
    [[], { state: { rowGrouping: { model: ["status"] }, pivoting: { active: true } } }, {}, ["group status", "group null"]],
  ]) {
    const read = mui(items, options);
    assert.deepEqual([read.filters, kinds(read)], [filters, expected], JSON.stringify([items, options]));
  }
});
