-- One row per advisory: the day of its first publication, which is today for a new one.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

first_publications as (

    select
        advisory_id,
        min(effective_from)::date as first_published_date,
    from {{ ref('int_advisories__published_periods') }}
    group by advisory_id

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

first_seen as (

    select
        universe.advisory_id,
        coalesce(first_publications.first_published_date, run.as_of_date) as first_seen,
    from universe
    cross join run
    left join first_publications on universe.advisory_id = first_publications.advisory_id

)

select * from first_seen
