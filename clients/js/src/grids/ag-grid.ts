import type { GridRequest } from "../types.js";
import { type Condition, GridReader, type GridMapping, type Operator, isBlank, toDayOrInstant } from "./reader.js";

export type { GridMapping, Operator, Sorting, Target } from "./reader.js";
export type { GridRequest, Unsupported } from "../types.js";

/** What is read of AG Grid's `GridApi`. */
export interface AgGridApi {
  getFilterModel(): Record<string, unknown>;
  getAllDisplayedColumns(): readonly { getColId(): string }[];
  getColumnState(): readonly { colId: string; sort?: string | null; sortIndex?: number | null; rowGroup?: boolean | null }[];
  getColumnDef(column: string): { filterParams?: unknown } | null;
  getGridOption(key: "quickFilterText" | "isExternalFilterPresent" | "enableAdvancedFilter" | "pivotMode"): unknown;
  /** Enterprise. */
  getAdvancedFilterModel?(): unknown;
}

/** The filters of AG Grid Community, and the set filter of AG Grid Enterprise. */
interface Model {
  filterType?: string;
  type?: string | null;
  filter?: unknown;
  filterTo?: unknown;
  dateFrom?: string | null;
  dateTo?: string | null;
  values?: readonly unknown[];
  operator?: "AND" | "OR";
  conditions?: readonly Model[];
}

const OPERATORS: Record<string, Operator> = {
  equals: "=", notEqual: "!=", lessThan: "<", lessThanOrEqual: "<=", greaterThan: ">", greaterThanOrEqual: ">=",
  contains: "contains", notContains: "not contains", startsWith: "starts with", endsWith: "ends with",
};

/** Columns that the grid adds, such as the one with check boxes. */
const OWN_COLUMN = /^ag-Grid-/;

/** Reads the filters and visible columns of AG Grid for a request. What it cannot express, such as the order, is in `unsupported`. */
export function readAgGrid(api: AgGridApi, mapping: GridMapping = {}): GridRequest {
  const reader = new GridReader(mapping);
  const columns = api.getAllDisplayedColumns().map((column) => column.getColId());
  reader.addColumns(columns.filter((name) => !OWN_COLUMN.test(name)));
  for (const [column, model] of Object.entries(api.getFilterModel())) {
    const { inRangeInclusive = false } = (api.getColumnDef(column)?.filterParams ?? {}) as { inRangeInclusive?: boolean };
    addModel(reader, column, model as Model, inRangeInclusive);
  }
  reader.addSearch(api.getGridOption("quickFilterText"));
  const isExternal = api.getGridOption("isExternalFilterPresent");
  if (typeof isExternal === "function" && isExternal({ api })) {
    reader.refuse("filter", null, "an external filter is not supported; add its values to the request");
  }
  // The grid reports a call without its module.
  if (api.getGridOption("enableAdvancedFilter") && api.getAdvancedFilterModel?.()) {
    reader.refuse("filter", null, "the advanced filter is not supported; add its values to the request");
  }
  if (api.getGridOption("pivotMode")) reader.refuse("group", null, "a pivot is not supported; the file has the rows");
  const state = api.getColumnState();
  for (const { colId, rowGroup } of state) {
    if (rowGroup) reader.refuse("group", colId, "groups are not supported; the file has the rows");
  }
  const sorted = state.filter(({ sort }) => sort);
  sorted.sort((a, b) => (a.sortIndex ?? 0) - (b.sortIndex ?? 0));
  reader.addSorting(sorted.map(({ colId, sort }) => ({ column: colId, desc: sort === "desc" })));
  return reader.request;
}

function addModel(reader: GridReader, column: string, model: Model, isInclusive: boolean) {
  const { operator, conditions } = model;
  if (!conditions) {
    addSimple(reader, column, model, isInclusive);
  } else if (operator === "OR") {
    const alternatives = conditions.map((it) => conditionsOf(it, isInclusive));
    if (alternatives.every((it) => it?.length === 1)) {
      reader.addAlternatives(alternatives.map((it) => ({ column, condition: it![0]! })));
    } else {
      reader.refuse("filter", column, "conditions that are joined by `or` are not supported; use one condition, or a list of values");
    }
  } else {
    for (const condition of conditions) addSimple(reader, column, condition, isInclusive);
  }
}

function addSimple(reader: GridReader, column: string, model: Model, isInclusive: boolean) {
  const conditions = conditionsOf(model, isInclusive);
  if (!conditions) {
    reader.refuse("filter", column, `the filter \`${model.type ?? model.filterType ?? "custom"}\` is not supported; add its value to the request`);
  }
  for (const condition of conditions ?? []) reader.addCondition(column, condition);
}

/** Returns the conditions that a model stands for, all of which a row must meet; `null` if it is of another kind. */
function conditionsOf(model: Model, isInclusive: boolean): Condition[] | null {
  const { filterType, type, values } = model;
  if (filterType === "set" && values) return [{ operator: "in", value: values }];
  if (!type) return null;
  const from = filterType === "date" ? toDate(model.dateFrom) : model.filter;
  const to = filterType === "date" ? toDate(model.dateTo) : model.filterTo;
  // The first choice of the list of conditions: it is none.
  if (type === "empty") return [];
  if (type === "blank" || type === "notBlank") return [{ operator: type === "blank" ? "empty" : "not empty", value: true }];
  // The filter of a column of booleans.
  if (type === "true" || type === "false") return [{ operator: "=", value: type === "true" }];
  if (type === "inRange") {
    return [{ operator: isInclusive ? ">=" : ">", value: from }, { operator: isInclusive ? "<=" : "<", value: to }];
  }
  const operator = Object.hasOwn(OPERATORS, type) ? OPERATORS[type]! : null;
  return operator && !isBlank(from) ? [{ operator, value: from }] : null;
}

/** Converts `2026-01-31 00:00:00`, a local time. */
function toDate(text: string | null | undefined): string | undefined {
  const date = new Date((text ?? "").replace(" ", "T").replace(/^\d+-\d+-\d+$/, "$&T00:00:00"));
  return Number.isNaN(date.getTime()) ? undefined : toDayOrInstant(date);
}
