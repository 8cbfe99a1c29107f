-- One row per pair that an upstream names for a package that the vendor ships and the feed does not
-- hold. These are no advisories; they show what the feed may be missing.
with upstream_rows as (

    select * from {{ ref('int_advisories__upstream_rows') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

shipped as (

    select
        package_key,
        min(package_name) as package_name,
    from universe
    where is_listed
    group by package_key

),

kev as (

    select * from {{ ref('stg_advisories__kev') }}

),

epss as (

    select * from {{ ref('stg_advisories__epss') }}

),

pairs as (

    select
        upstream_rows.package_key,
        upstream_rows.cve_id,
        array_agg(distinct upstream_rows.source order by upstream_rows.source) as sources,
        coalesce(
            array_agg(distinct upstream_rows.release order by upstream_rows.release)
            filter (where upstream_rows.statement = 'open'), []
        ) as open_releases,
        coalesce(
            array_agg(distinct upstream_rows.release order by upstream_rows.release)
            filter (where upstream_rows.statement = 'fixed'), []
        ) as fixed_releases,
        bool_or(upstream_rows.target_rank is not null) as is_in_target_release,
    from upstream_rows
    anti join universe
        on
            upstream_rows.package_key = universe.package_key
            and upstream_rows.cve_id = universe.cve_id
    group by upstream_rows.package_key, upstream_rows.cve_id

),

unlisted as (

    select
        shipped.package_name,
        pairs.cve_id,
        pairs.sources,
        pairs.open_releases,
        pairs.fixed_releases,
        pairs.is_in_target_release,
        kev.cve_id is not null as is_known_exploited,
        epss.epss,
    from pairs
    inner join shipped on pairs.package_key = shipped.package_key
    left join kev on pairs.cve_id = kev.cve_id
    left join epss on pairs.cve_id = epss.cve_id

)

select * from unlisted
