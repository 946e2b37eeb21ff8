/*---
title = "Customers"
description = "Every customer the caller has sold to."

[filters.country]
type = "text"
pattern = "[A-Z]{2}"
description = "An ISO 3166 country code."

[csv]
bom = true
---*/
select c.id, c.name, c.country, count(*) as orders, sum(o.amount) as total
from customers c
join orders o on o.customer_id = c.id
where o.user_id = :user
  and (:country is null or c.country = :country)
group by c.id
order by c.id
