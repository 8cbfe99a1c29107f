-- One row per measure whose count differs from the one in the seed expected_counts.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'mart_stations'}}}) }}

with actual_counts as (

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
    actual_counts.measure,
    'expected ' || coalesce(expected_counts.expected, 0) as expected,
    'counted ' || actual_counts.actual as actual,
    array_to_string(actual_counts.names, ' ') as names,
from actual_counts
left join expected_counts on actual_counts.measure = expected_counts.measure
where actual_counts.actual != coalesce(expected_counts.expected, 0)
order by actual_counts.measure
