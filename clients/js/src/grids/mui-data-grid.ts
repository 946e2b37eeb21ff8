import type { GridRequest } from "../types.js";
import { type Condition, GridReader, type GridMapping, type Operator, isBlank } from "./reader.js";

export type { GridMapping, Operator, Sorting, Target } from "./reader.js";
export type { GridRequest, Unsupported } from "../types.js";

/** A column, as far as it is read. */
export interface MuiColumn {
  field: string;
  type?: string;
}

/** What is read of the API of MUI X Data Grid: `apiRef.current`. */
export interface MuiGridApi {
  state: {
    filter: { filterModel: MuiFilterModel };
    sorting: { sortModel: readonly { field: string; sort?: "asc" | "desc" | null }[] };
    /** Premium. */
    rowGrouping?: { model?: readonly string[] };
    pivoting?: { active?: boolean };
  };
  getVisibleColumns(): readonly MuiColumn[];
  getAllColumns(): readonly MuiColumn[];
}

/** The filters of the grid. */
export interface MuiFilterModel {
  items: readonly MuiFilterItem[];
  logicOperator?: string;
  quickFilterValues?: readonly unknown[];
  quickFilterLogicOperator?: string;
}

/** A filter of a column. */
export interface MuiFilterItem {
  field: string;
  operator: string;
  value?: unknown;
}

const OPERATORS: Record<string, Operator> = {
  "=": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<=",
  equals: "=", doesNotEqual: "!=", is: "=", not: "!=", isAnyOf: "in",
  after: ">", onOrAfter: ">=", before: "<", onOrBefore: "<=",
  contains: "contains", doesNotContain: "not contains", startsWith: "starts with", endsWith: "ends with",
  isEmpty: "empty", isNotEmpty: "not empty",
};

/**
 * Reads the filters and visible columns of a grid, by its `apiRef.current`, for a request. What it cannot express, such as the
 * order, is in `unsupported`.
 */
export function readMuiDataGrid(api: MuiGridApi, mapping: GridMapping = {}): GridRequest {
  const reader = new GridReader(mapping);
  // The names of columns that the grid adds, such as the one with check boxes, start with `__`.
  const columns = api.getVisibleColumns().filter(({ field, type }) => !field.startsWith("__") && type !== "actions");
  reader.addColumns(columns.map(({ field }) => field));
  const { filter: { filterModel }, sorting: { sortModel } } = api.state;
  addItems(reader, api, filterModel);
  addQuickFilter(reader, filterModel);
  addGroups(reader, api.state);
  reader.addSorting(sortModel.filter(({ sort }) => sort).map(({ field, sort }) => ({ column: field, desc: sort === "desc" })));
  return reader.request;
}

function addItems(reader: GridReader, api: MuiGridApi, { items, logicOperator }: MuiFilterModel) {
  const types = Object.fromEntries(api.getAllColumns().map(({ field, type }) => [field, type]));
  const conditions = [];
  for (const item of items) {
    const operator = Object.hasOwn(OPERATORS, item.operator) ? OPERATORS[item.operator]! : null;
    const needsValue = !operator?.endsWith("empty");
    // The grid does not apply such an item either.
    if (needsValue && isBlank(item.value)) continue;
    const value = needsValue ? convert(item.value, types[item.field]) : true;
    if (operator) conditions.push({ column: item.field, condition: { operator, value } satisfies Condition });
    else reader.refuse("filter", item.field, `the operator \`${item.operator}\` is not supported; add its value to the request`);
  }
  if (logicOperator === "or") reader.addAlternatives(conditions);
  else for (const { column, condition } of conditions) reader.addCondition(column, condition);
}

/** Converts a value of a column of this type. The grid has the day of a date in UTC. */
function convert(value: unknown, type: string | undefined): unknown {
  if (type === "boolean" && typeof value === "string") return value === "true";
  if (type !== "date" && type !== "dateTime") return value;
  const date = new Date(value as string | Date);
  if (Number.isNaN(date.getTime())) return value;
  return type === "date" ? date.toISOString().slice(0, 10) : date.toISOString();
}

function addQuickFilter(reader: GridReader, { quickFilterValues = [], quickFilterLogicOperator }: MuiFilterModel) {
  const words = quickFilterValues.filter((word) => !isBlank(word));
  if (words.length > 1 && quickFilterLogicOperator === "or") {
    reader.refuse("search", null, "words that are joined by `or` are not supported; search for one word");
  } else {
    reader.addSearch(words.join(" "));
  }
}

function addGroups(reader: GridReader, state: MuiGridApi["state"]) {
  for (const column of state.rowGrouping?.model ?? []) {
    reader.refuse("group", column, "groups are not supported; the file has the rows");
  }
  if (state.pivoting?.active) reader.refuse("group", null, "a pivot is not supported; the file has the rows");
}
