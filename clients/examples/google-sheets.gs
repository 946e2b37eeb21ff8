// Google Sheets: Extensions → Apps Script, then a time-driven trigger for `exportOrders`. Each run issues a new link.
// Set ROWLINK_URL and ROWLINK_TOKEN in the script properties, not in a cell. Google fetches at most 50 MB.
//
// For a single import without a script, put =IMPORTDATA("the signed URL") in a cell before the link expires. Google
// fetches the URL again every hour, so a sheet that must stay current needs the script, or a feed: docs/scripts.md.
function exportOrders() {
  const { ROWLINK_URL, ROWLINK_TOKEN } = PropertiesService.getScriptProperties().getProperties();
  const response = UrlFetchApp.fetch(`${ROWLINK_URL}/v1/links`, {
    method: "post",
    contentType: "application/json",
    headers: { Authorization: `Bearer ${ROWLINK_TOKEN}` },
    payload: JSON.stringify({ export: "orders", format: "csv", filters: { from: "2026-01-01" } }),
  });
  const { url } = JSON.parse(response.getContentText());
  const rows = Utilities.parseCsv(UrlFetchApp.fetch(url).getContentText());
  const book = SpreadsheetApp.getActive();
  const sheet = book.getSheetByName("Orders") ?? book.insertSheet("Orders");
  sheet.clearContents();
  sheet.getRange(1, 1, rows.length, rows[0].length).setValues(rows);
}
