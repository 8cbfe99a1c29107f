-- One row if the enrichment is on and the share of stations with an answer is below min_coverage.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'mart_stations'}}}) }}

with coverage as (

    select
        count(extraction_confidence) / greatest(count(*), 1) as answered_share,
        list_sort(list(official_name) filter (where extraction_confidence is null)) as unanswered,
    from {{ ref('mart_stations') }}

),

enrichment as (

    select status
    from {{ ref('stg_transit__source_health') }}
    where source = 'station_answers'

)

select
    'expected at least ' || {{ var('min_coverage', 0.7) }} as expected,
    'found ' || round(coverage.answered_share, 3) as answered_share,
    array_to_string(coverage.unanswered[:20], ', ') as stations_without_an_answer,
from coverage
cross join enrichment
where
    enrichment.status != 'off'
    and coverage.answered_share < {{ var('min_coverage', 0.7) }}
