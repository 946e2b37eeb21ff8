/*---
title = "Echo"

[filters.text]
type = "text"

[csv]
formula_guard = false
---*/
select :user as user, :text as text, length(cast(:text as blob)) as bytes
