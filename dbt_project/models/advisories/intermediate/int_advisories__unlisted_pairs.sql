-- One row per package and id that an upstream names and the vendor's feed does not list, although
-- the vendor ships the package. These are no advisories.
with upstream_rows as (

    select * from {{ ref('int_advisories__upstream_rows') }}
    where statement != 'undetermined'

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

vendor_packages as (

    select
        package_key,
        min(package_name) as package_name,
    from universe
    where is_listed
    group by package_key

),

upstream_pairs as (

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

unlisted_pairs as (

    select
        vendor_packages.package_name,
        upstream_pairs.package_key,
        upstream_pairs.cve_id,
        upstream_pairs.sources,
        upstream_pairs.open_releases,
        upstream_pairs.fixed_releases,
        upstream_pairs.is_in_target_release,
    from upstream_pairs
    inner join vendor_packages on upstream_pairs.package_key = vendor_packages.package_key

)

select * from unlisted_pairs
