-- Sample orders, identical on every machine: every value is computed from the row number.
create table customers (
  id      integer primary key,
  name    text not null,
  country text not null
);
insert into customers
with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
select i,
       case i % 8
         when 0 then 'Müller & Söhne GmbH'
         when 1 then 'O''Brien, Patrick'
         when 2 then 'Łukasz "Luke" Nowak'
         when 3 then '株式会社サンプル'
         when 4 then 'Zoë 🚀 Labs'
         when 5 then 'Ana María Núñez'
         when 6 then 'Smith; Sons'
         else        'Айгуль Садыкова'
       end || ' ' || i,
       substr('DEFRESITPLJPKZUS', 1 + 2 * (i % 8), 2)
from n;

create table orders (
  id          integer primary key,
  user_id     text    not null,
  customer_id integer not null references customers,
  created_at  text    not null,
  status      text    not null,
  amount      real    not null,
  items       integer not null,
  gift        integer not null,
  note        text
);
insert into orders
with recursive n(i) as (select 1 union all select i + 1 from n where i < 500000)
select i,
       case i % 10 when 0 then 'bob' when 1 then 'carol' else 'alice' end,
       1 + (i * 7919) % 200,
       strftime('%Y-%m-%dT%H:%M:%SZ', 1735689600 + i * 120, 'unixepoch'),
       case (i * 31) % 7 when 0 then 'pending' when 1 then 'refunded' else 'paid' end,
       round(((i * 104729) % 500000) / 100.0 + 1, 2),
       1 + (i * 13) % 9,
       (i * 17) % 11 = 0,
       case i % 12
         when 0 then 'said "thank you", twice'
         when 1 then null
         when 2 then '=HYPERLINK("https://example.com","click")'
         when 3 then 'two lines:' || char(10) || 'leave at the door'
         when 4 then '🎁 wrap it, please 🎀'
         when 5 then ''
         when 6 then '+49 30 1234567'
         when 7 then 'semi;colon, comma'
         when 8 then '  spaces around  '
         when 9 then '@reception'
         else        'no. ' || i
       end
from n;
create index orders_user on orders (user_id, created_at);
