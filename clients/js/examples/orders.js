/** Rows for the grids. A real application loads them. */
export const orders = [
  { id: 1, created_at: "2026-01-05T10:00:00Z", status: "paid", amount: 12.5, note: "plain" },
  { id: 2, created_at: "2026-01-06T10:00:00Z", status: "pending", amount: null, note: "by telephone" },
  { id: 4, created_at: "2026-01-08T10:00:00Z", status: "refunded", amount: 0.1, note: "gift" },
  { id: 5, created_at: "2026-01-09T10:00:00Z", status: "paid", amount: 99, note: "express" },
  { id: 6, created_at: "2026-01-10T10:00:00Z", status: "paid", amount: 3, note: "" },
];

/** What the columns of the grids are called in the export, by column and comparison. */
export const mapping = {
  filters: { created_at: { ">=": "from" }, status: "status" },
  order: [{ column: "created_at" }],
};
