-- The network has as many stations and lines as the seed expected_counts states.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'mart_stations'}}}) }}

with counted as (

    select
        'station names' as measure,
        count(*) as actual,
        null::varchar[] as names,
    from {{ ref('mart_stations') }}
    union all
    select
        'lines' as measure,
        count(distinct line_code) as actual,
        list_sort(list(distinct line_code)) as names,
    from {{ ref('mart_station_codes') }}

),

expected_counts as (

    select * from {{ ref('expected_counts') }}

)

select
    counted.measure,
    'expected ' || coalesce(expected_counts.expected, 0) as expected,
    'counted ' || counted.actual as actual,
    array_to_string(counted.names, ' ') as names,
from counted
left join expected_counts on counted.measure = expected_counts.measure
where counted.actual != coalesce(expected_counts.expected, 0)
order by counted.measure
