import type { Filter } from "./types.js";

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** Types of inputs that have no value for a filter. */
const WITHOUT_VALUE = ["button", "file", "image", "password", "reset", "submit"];

/** Returns the native form controls among these elements and in them. */
export function controlsIn(elements: readonly Element[]): Control[] {
  const selector = "input, select, textarea";
  return elements.flatMap((element) => [
    ...(element.matches(selector) ? [element as Control] : []),
    ...element.querySelectorAll<Control>(selector),
  ]);
}

/**
 * Returns filters by the names of controls: those of a form, and further ones. An empty control is no filter. Several values
 * of one name are a list. A local time is one of the browser's time zone. A password is never sent.
 */
export function readFilters(form: HTMLFormElement | null, further: readonly Control[]): Record<string, Filter> {
  const values = new Map<string, string[]>();
  const add = (name: string, value: string, control?: Control) => {
    if (!name || !value || control?.type === "password") return;
    const all = values.get(name) ?? [];
    values.set(name, [...all, control?.type === "datetime-local" ? new Date(value).toISOString() : value]);
  };
  if (form) {
    const controls = [...form.elements] as Control[];
    for (const [name, value] of new FormData(form)) {
      if (typeof value === "string") add(name, value, controls.find((control) => control.name === name));
    }
  }
  for (const control of further) {
    if (control.form && control.form === form) continue;
    for (const value of valuesOf(control)) add(control.name, value, control);
  }
  return Object.fromEntries([...values].map(([name, all]) => [name, all.length === 1 ? all[0]! : all]));
}

/** Returns the values of a control as a form would send them. */
function valuesOf(control: Control): string[] {
  if (control.matches(":disabled")) return [];
  if (control instanceof HTMLSelectElement) return [...control.selectedOptions].map(({ value }) => value);
  if (WITHOUT_VALUE.includes(control.type)) return [];
  const isChoice = control.type === "checkbox" || control.type === "radio";
  return isChoice && !(control as HTMLInputElement).checked ? [] : [control.value];
}
