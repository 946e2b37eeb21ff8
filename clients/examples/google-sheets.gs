// Google Sheets: Extensions → Apps Script, then a trigger by the clock for `exportOrders`. Each run issues a link of
// its own; ROWLINK_URL and ROWLINK_TOKEN stand in the script's properties, not in a cell. Google fetches 50 MB at most.
//
// For once, without a script: =IMPORTDATA("the signed URL"), in a cell, before the link expires. Google fetches the
// URL again each hour, so a sheet that shall stay fresh needs the script, or links that live as long.
function exportOrders() {
  const { ROWLINK_URL, ROWLINK_TOKEN } = PropertiesService.getScriptProperties().getProperties();
  const answer = UrlFetchApp.fetch(`${ROWLINK_URL}/v1/links`, {
    method: "post",
    contentType: "application/json",
    headers: { Authorization: `Bearer ${ROWLINK_TOKEN}` },
    payload: JSON.stringify({ export: "orders", format: "csv", filters: { from: "2026-01-01" } }),
  });
  const { url } = JSON.parse(answer.getContentText());
  const rows = Utilities.parseCsv(UrlFetchApp.fetch(url).getContentText());
  const book = SpreadsheetApp.getActive();
  const sheet = book.getSheetByName("Orders") ?? book.insertSheet("Orders");
  sheet.clearContents();
  sheet.getRange(1, 1, rows.length, rows[0].length).setValues(rows);
}
