/*---
title = "Orders"
scope = "orders:read"

[filters.from]
type = "date"
required = true

[filters.status]
type = "text"
values = ["pending", "paid", "refunded"]
list = true

[filters.limit]
type = "integer"
min = 1
max = 100
default = 100

[columns.amount]
label = "Amount (EUR)"
---*/
select id, created_at, status, amount, note
from orders
where user_id = :user
  and created_at >= :from
  and (:status is null or status in (select value from json_each(:status)))
order by created_at, id
limit :limit
