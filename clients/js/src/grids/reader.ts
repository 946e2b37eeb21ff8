import type { Filter, GridRequest, Scalar, Unsupported } from "../types.js";

/**
 * How a condition of a grid compares. `value`: the value of a filter whose comparison the grid does not name, such as one by a
 * function.
 */
export type Operator =
  | "=" | "!=" | "<" | "<=" | ">" | ">=" | "in"
  | "contains" | "not contains" | "starts with" | "ends with" | "empty" | "not empty" | "value";

/** A filter of the export, by its name, or a function that returns filters for the value of a condition. */
export type Target = string | ((value: Scalar | readonly Scalar[]) => Record<string, Filter>);

/** What the columns and filters of a grid are called in the export. */
export interface GridMapping {
  /** Columns of the export by those of the grid. Default: the same name. `null`: not in the file, such as a column of buttons. */
  columns?: Record<string, string | null>;
  /** Filters of the export by column of the grid and comparison, such as `{ created_at: { ">=": "from" } }`. A name is for `=` and `in`. */
  filters?: Record<string, string | Partial<Record<Operator, Target>>>;
  /** The filter for the text that is searched in all columns. */
  search?: Target;
  /** The order of the rows in the export's statement. A grid with the same order needs no note. */
  order?: readonly Sorting[];
}

/** A column of a grid that its rows are sorted by. */
export interface Sorting {
  column: string;
  desc?: boolean | undefined;
}

/** A condition of a grid. `value` is a list only for `in`, or for `value`. */
export interface Condition {
  operator: Operator;
  value: unknown;
}

/** Collects what a grid shows. What a mapping lacks becomes an entry of `unsupported`. */
export class GridReader {
  readonly #filters: Record<string, Filter> = {};
  readonly #columns: string[] = [];
  readonly #unsupported: Unsupported[] = [];

  constructor(private readonly mapping: GridMapping) {}

  get request(): GridRequest {
    return { filters: this.#filters, columns: this.#columns, unsupported: this.#unsupported };
  }

  refuse(kind: Unsupported["kind"], column: string | null, reason: string) {
    this.#unsupported.push({ kind, column, message: `${column ?? kind}: ${reason}` });
  }

  addColumns(names: readonly string[]) {
    for (const name of names) {
      const column = this.#ownOf(this.mapping.columns, name);
      if (column !== null) this.#columns.push(column ?? name);
    }
  }

  /** Adds a condition of a column. */
  addCondition(column: string, { operator, value }: Condition) {
    const converted = toFilter(value);
    if (converted === undefined) {
      this.refuse("filter", column, `the value of \`${operator}\` is not supported; expected a text, number, boolean or date, or a list of them`);
      return;
    }
    const [target, filter] = this.#targetOf(column, operator, converted);
    if (!target) this.refuse("filter", column, `no filter of the export for \`${operator}\`; add it to filters.${column} of the mapping`);
    else this.#addFilter("filter", column, target, filter);
  }

  /** Adds conditions of which a row must meet one. They can be expressed if all are `=` of one column. */
  addAlternatives(conditions: readonly { column: string; condition: Condition }[]) {
    const [first] = conditions;
    if (!first) return;
    const areValues = conditions.every(({ column, condition: { operator } }) => column === first.column && operator === "=");
    if (conditions.length === 1) this.addCondition(first.column, first.condition);
    else if (areValues) this.addCondition(first.column, { operator: "in", value: conditions.map(({ condition }) => condition.value) });
    else this.refuse("filter", first.column, "conditions that are joined by `or` are not supported; use one condition, or a list of values");
  }

  addSearch(text: unknown) {
    if (text === undefined || text === null || text === "") return;
    const value = toFilter(text);
    if (!this.mapping.search || value === undefined) this.refuse("search", null, "no filter of the export; set search in the mapping");
    else this.#addFilter("search", null, this.mapping.search, value);
  }

  /** Notes an order that is not the one of the export: a request for a link has none. */
  addSorting(sorting: readonly Sorting[]) {
    const { order = [] } = this.mapping;
    const isSame = ({ column, desc }: Sorting, at: number) => order[at]?.column === column && !!order[at].desc === !!desc;
    if (sorting.every(isSame)) return;
    for (const { column, desc } of sorting) {
      this.refuse("sort", column, `the file is not sorted by it (${desc ? "descending" : "ascending"}); the export's statement has the order`);
    }
  }

  #targetOf(column: string, operator: Operator, value: Scalar | Scalar[]): [Target | undefined, Scalar | Scalar[]] {
    const mapped = this.#ownOf(this.mapping.filters, column);
    if (typeof mapped === "string") return [operator === "=" || operator === "in" ? mapped : undefined, value];
    const target = this.#ownOf(mapped, operator);
    if (target) return [target, value];
    // One value is a list of one.
    if (operator === "=") return [mapped?.in, [value].flat()];
    const [only, ...others] = [value].flat();
    return operator === "in" && only !== undefined && !others.length ? [mapped?.["="], only] : [undefined, value];
  }

  #addFilter(kind: "filter" | "search", column: string | null, target: Target, value: Scalar | Scalar[]) {
    const filters = typeof target === "string" ? { [target]: value } : target(value);
    for (const [name, filter] of Object.entries(filters)) {
      if (!Object.hasOwn(this.#filters, name)) this.#filters[name] = filter;
      else this.refuse(kind, column, `the filter \`${name}\` of the export has a value from another condition; use one condition`);
    }
  }

  /** A column may be called `constructor`. */
  #ownOf<T>(record: Record<string, T> | Partial<Record<Operator, T>> | undefined, name: string): T | undefined {
    return record && Object.hasOwn(record, name) ? (record as Record<string, T>)[name] : undefined;
  }
}

/** Returns a value as a filter takes it; `undefined` if none does. */
function toFilter(value: unknown): Scalar | Scalar[] | undefined {
  if (!Array.isArray(value)) return toScalar(value);
  const values = value.map(toScalar);
  return values.length && values.every((it) => it !== undefined) ? (values as Scalar[]) : undefined;
}

function toScalar(value: unknown): Scalar | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : toDayOrInstant(value);
  if (typeof value === "bigint") return String(value);
  return ["string", "number", "boolean"].includes(typeof value) ? (value as Scalar) : undefined;
}

/** Returns the day of a local midnight, as `2026-01-31`, and another time as an instant. */
export function toDayOrInstant(date: Date): string {
  const isMidnight = !(date.getHours() || date.getMinutes() || date.getSeconds() || date.getMilliseconds());
  if (!isMidnight) return date.toISOString();
  const part = (number: number, length = 2) => String(number).padStart(length, "0");
  return `${part(date.getFullYear(), 4)}-${part(date.getMonth() + 1)}-${part(date.getDate())}`;
}

/** Returns whether a condition has no value yet, so that a grid does not apply it. */
export function isBlank(value: unknown): boolean {
  return value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length);
}
