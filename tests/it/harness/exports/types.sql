/*---
[filters.a_text]
type = "text"
max_length = 10
pattern = "[a-z ]+"
[filters.an_integer]
type = "integer"
min = -5
[filters.a_decimal]
type = "decimal"
max = 9.5
[filters.a_boolean]
type = "boolean"
[filters.a_date]
type = "date"
min = 2020-01-01
[filters.a_timestamp]
type = "timestamp"
[filters.a_uuid]
type = "uuid"
description = "Any UUID."
[filters.integers]
type = "integer"
list = true
---*/
select :user as user, :a_text as a_text, :an_integer as an_integer, :a_decimal as a_decimal,
       :a_boolean as a_boolean, :a_date as a_date, :a_timestamp as a_timestamp, :a_uuid as a_uuid,
       json(:integers) as integers, typeof(:a_decimal) as decimal_type
