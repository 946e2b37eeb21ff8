-- No settings: the claim restricts the rows.
select id, user_id from orders where org_id = :claim.org_id order by id;
