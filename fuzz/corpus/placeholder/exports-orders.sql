
select o.id, o.created_at, c.name as customer, c.country, o.status, o.amount, o.items, o.gift, o.note
from orders o
join customers c on c.id = o.customer_id
where o.user_id = :user
  and o.created_at >= :from
  and (:to is null or o.created_at < date(:to, '+1 day'))
  and (:status is null or o.status in (select value from json_each(:status)))
  and (:min_amount is null or o.amount >= :min_amount)
order by o.created_at, o.id
