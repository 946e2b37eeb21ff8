/*---
title = "Orders"
description = "The caller's orders, oldest first."
scope = "orders:read"
formats = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"]

[filters.from]
type = "date"
description = "By day of creation, in UTC."
required = true

[filters.to]
type = "date"
description = "That day included."

[filters.status]
type = "text"
values = ["pending", "paid", "refunded"]
list = true

[filters.min_amount]
type = "decimal"
description = "In EUR."
min = 0

[columns.amount]
label = "Amount (EUR)"
---*/
select o.id, o.created_at, c.name as customer, c.country, o.status, o.amount, o.items, o.gift, o.note
from orders o
join customers c on c.id = o.customer_id
where o.user_id = :user
  and o.created_at >= :from
  and (:to is null or o.created_at < date(:to, '+1 day'))
  and (:status is null or o.status in (:status))
  and (:min_amount is null or o.amount >= :min_amount)
order by o.created_at, o.id
