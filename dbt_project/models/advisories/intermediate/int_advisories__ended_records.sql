-- One row per record that has ended by its own date at the time of the run, with the cause that a
-- change of state by its end has.
with osv as (

    select * from {{ ref('stg_advisories__osv') }}

),

rulings as (

    select * from {{ ref('stg_advisories__overrides') }}

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

ended_records as (

    select distinct
        'osv' as source,
        osv.osv_id as record_id,
        'record_withdrawn' as cause,
    from osv
    cross join run
    where osv.withdrawn_at <= run.as_of
    union all
    select
        'overrides' as source,
        {{ ruling_id('rulings') }} as record_id,
        'ruling_expired' as cause,
    from rulings
    cross join run
    group by record_id
    having bool_and(coalesce(rulings.expires_at <= run.as_of, false))

)

select * from ended_records
