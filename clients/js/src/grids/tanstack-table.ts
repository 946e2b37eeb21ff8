import type { GridRequest } from "../types.js";
import { type Condition, GridReader, type GridMapping, type Operator, isBlank } from "./reader.js";

export type { GridMapping, Operator, Sorting, Target } from "./reader.js";
export type { GridRequest, Unsupported } from "../types.js";

/** The parts of the state that are read. A table has those of its features. */
export interface TanStackState {
  columnFilters?: readonly { id: string; value: unknown }[];
  globalFilter?: unknown;
  sorting?: readonly { id: string; desc: boolean }[];
  grouping?: readonly string[];
  columnPinning?: { left?: readonly string[]; right?: readonly string[]; start?: readonly string[]; end?: readonly string[] };
}

/** A column, as far as it is read. */
export interface TanStackColumn {
  id: string;
  accessorFn?: unknown;
  columnDef: object;
}

/** What is read of a table of TanStack Table, version 8 or 9. */
export interface TanStackTable {
  /** Version 8. */
  getState?: () => object;
  /** Version 9. */
  store?: { readonly state: object };
  getAllLeafColumns(): readonly TanStackColumn[];
  /** Only with the feature of hidden columns. */
  getVisibleLeafColumns?: () => readonly TanStackColumn[];
}

/** The comparison of each named filter function. */
const OPERATORS: Record<string, Operator> = {
  equals: "=", weakEquals: "=", equalsString: "=", equalsStringSensitive: "=", arrHas: "in",
  includesString: "contains", includesStringSensitive: "contains", startsWith: "starts with", endsWith: "ends with",
  empty: "empty", notEmpty: "not empty",
  greaterThan: ">", greaterThanOrEqualTo: ">=", lessThan: "<", lessThanOrEqualTo: "<=",
};

/** Filter functions whose value is a range, with the comparisons of its ends. */
const RANGES: Record<string, readonly [Operator, Operator]> = {
  between: [">", "<"], betweenInclusive: [">=", "<="], inNumberRange: [">=", "<="], inDateRange: [">=", "<="],
};

/**
 * Reads the filters and visible columns of a table for a request. What it cannot express, such as the order, is in
 * `unsupported`. A filter by a function, or by `auto`, needs `value` in the mapping.
 */
export function readTanStackTable(table: TanStackTable, mapping: GridMapping = {}): GridRequest {
  const reader = new GridReader(mapping);
  const state: TanStackState = table.getState?.() ?? table.store?.state ?? {};
  const visible = table.getVisibleLeafColumns?.() ?? table.getAllLeafColumns();
  // A column without an accessor has no data, but buttons or check boxes.
  reader.addColumns(inDisplayedOrder(visible.filter(({ accessorFn }) => accessorFn).map(({ id }) => id), state));
  for (const { id, value } of state.columnFilters ?? []) {
    if (!isBlank(value)) addFilter(reader, mapping, table, id, value);
  }
  reader.addSearch(state.globalFilter);
  for (const column of state.grouping ?? []) reader.refuse("group", column, "groups are not supported; the file has the rows");
  reader.addSorting((state.sorting ?? []).map(({ id, desc }) => ({ column: id, desc })));
  return reader.request;
}

/** Pinned columns stand at the sides. */
function inDisplayedOrder(names: readonly string[], { columnPinning = {} }: TanStackState): string[] {
  const pinned = (side: readonly string[] = []) => side.filter((name) => names.includes(name));
  const first = pinned(columnPinning.left ?? columnPinning.start);
  const last = pinned(columnPinning.right ?? columnPinning.end);
  return [...first, ...names.filter((name) => !first.includes(name) && !last.includes(name)), ...last];
}

function addFilter(reader: GridReader, mapping: GridMapping, table: TanStackTable, id: string, value: unknown) {
  const definition = table.getAllLeafColumns().find((column) => column.id === id)?.columnDef as { filterFn?: unknown } | undefined;
  const name = typeof definition?.filterFn === "string" ? definition.filterFn : "";
  const mapped = mapping.filters && Object.hasOwn(mapping.filters, id) ? mapping.filters[id] : undefined;
  const conditions = typeof mapped === "object" && mapped.value ? null : conditionsOf(name, value);
  if (!conditions) reader.addCondition(id, { operator: "value", value });
  for (const condition of conditions ?? []) reader.addCondition(id, condition);
}

/** Returns the conditions of a named filter function, all of which a row must meet; `null` for other functions. */
function conditionsOf(name: string, value: unknown): Condition[] | null {
  const operator = Object.hasOwn(OPERATORS, name) && OPERATORS[name]!;
  if (operator && operator.endsWith("empty")) return value === false ? [] : [{ operator, value: true }];
  if (operator) return [{ operator, value }];
  const range = Object.hasOwn(RANGES, name) && Array.isArray(value) && RANGES[name]!;
  if (!range) return null;
  const ends = name.startsWith("in") ? inOrder(value as unknown[]) : (value as unknown[]);
  return range
    .map((operator, at): Condition => ({ operator, value: ends[at] }))
    .filter((condition) => !isBlank(condition.value));
}

/** Swaps the ends of a range if the first one is larger, as `inNumberRange` and `inDateRange` do. */
function inOrder([first, second]: readonly unknown[]): unknown[] {
  // Inputs of a page have texts.
  const [low, high] = [first, second].map((end) => (end instanceof Date || Number.isNaN(Number(end)) ? end : Number(end)));
  const isReversed = !isBlank(first) && !isBlank(second) && (low as number) > (high as number);
  return isReversed ? [second, first] : [first, second];
}
