
select id, created_at, status, amount, note
from orders
where user_id = :user
  and created_at >= :from
  and (:status is null or status in (select value from json_each(:status)))
order by created_at, id
limit :limit
