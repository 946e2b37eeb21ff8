create table orders (
  id integer primary key,
  user_id text not null,
  org_id text not null,
  created_at text not null,
  status text not null,
  amount real,
  note text
);
insert into orders values
  (1, 'alice', '7', '2026-01-05T10:00:00Z', 'paid',     12.5, 'plain'),
  (2, 'alice', '7', '2026-01-06T10:00:00Z', 'pending',  null, 'with "quotes", commas'),
  (3, 'bob',   '7', '2026-01-07T10:00:00Z', 'paid',     99.0, 'bob''s secret'),
  (4, 'alice', '8', '2026-01-08T10:00:00Z', 'refunded', 0.1,  'two' || char(13, 10) || 'lines 🎁'),
  (5, 'alice', '8', '2026-01-09T10:00:00Z', 'paid',     1e21, '=1+1'),
  (6, 'alice', '8', '2026-01-10T10:00:00Z', 'paid',     3.0,  ''),
  (7, 'alice', '8', '2026-01-11T10:00:00Z', 'paid',     4.0,  null);
