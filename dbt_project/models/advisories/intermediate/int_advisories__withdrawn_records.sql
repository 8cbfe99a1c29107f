-- One row per OSV record that is withdrawn at the time of the run.
with osv as (

    select * from {{ ref('stg_advisories__osv') }}

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

withdrawn_records as (

    select distinct osv.osv_id as record_id
    from osv
    cross join run
    where osv.withdrawn_at <= run.as_of

)

select * from withdrawn_records
