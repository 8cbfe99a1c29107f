-- One row per package and id that an upstream names and the vendor's feed does not list, although
-- the vendor ships the package. These are no advisories: they show what the feed may be missing.
with pairs as (

    select * from {{ ref('int_advisories__unlisted_pairs') }}

),

kev as (

    select * from {{ ref('stg_advisories__kev') }}

),

epss as (

    select * from {{ ref('stg_advisories__epss') }}

),

unlisted_pairs as (

    select
        pairs.package_name,
        pairs.cve_id,
        pairs.sources,
        pairs.open_releases,
        pairs.fixed_releases,
        pairs.is_in_target_release,
        kev.cve_id is not null as is_known_exploited,
        epss.epss,
    from pairs
    left join kev on pairs.cve_id = kev.cve_id
    left join epss on pairs.cve_id = epss.cve_id

)

select * from unlisted_pairs
