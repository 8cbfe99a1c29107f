-- One row per advisory: the day on which it was first published, else that of this run.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

history as (

    select
        advisory_id,
        min(effective_from)::date as first_published_date,
    from {{ ref('stg_advisories__history') }}
    group by advisory_id

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

first_seen as (

    select
        universe.advisory_id,
        coalesce(history.first_published_date, run.as_of_date) as first_seen,
    from universe
    cross join run
    left join history on universe.advisory_id = history.advisory_id

)

select * from first_seen
