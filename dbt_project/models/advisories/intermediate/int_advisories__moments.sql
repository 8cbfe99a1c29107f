-- One row per package and time ahead at which a decision about it changes although no source does.
with run as (

    select * from {{ ref('stg_advisories__run') }}

),

vendor_packages as (

    select distinct package_key
    from {{ ref('int_advisories__universe') }}

),

withdrawals as (

    select
        osv.package_key,
        osv.withdrawn_at as moment,
    from {{ ref('stg_advisories__osv') }} as osv
    cross join run
    semi join vendor_packages on osv.package_key = vendor_packages.package_key
    where osv.withdrawn_at > run.as_of
    group by osv.package_key, osv.withdrawn_at

)

select * from withdrawals
