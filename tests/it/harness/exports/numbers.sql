/*---
title = "Numbers"
description = "Rows 1 to n; can fail at one of them."

[filters.n]
type = "integer"
required = true

[filters.fail_at]
type = "integer"
---*/
with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < :n)
select n,
       case when n = :fail_at then json('no JSON') end as failure,
       'row ' || n || ' of ' || :user as text
from numbers
