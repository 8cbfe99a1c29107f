-- One row per package: the newest version that the vendor's feed names for it. Of equal versions
-- the vendor's own rebuild counts as the newer one.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

versions as (

    select * from {{ ref('int_advisories__versions') }}

),

newest_versions as (

    select
        universe.package_key,
        universe.vendor_version as newest_version,
        universe.advisory_id as newest_record,
        versions.version_key as newest_key,
        versions.rebuild_number is not null as is_newest_rebuild,
    from universe
    inner join versions
        on
            universe.package_key = versions.package_key
            and universe.vendor_version = versions.version
    qualify row_number() over (
        partition by universe.package_key
        order by
            versions.version_key desc,
            versions.rebuild_number desc nulls last,
            universe.vendor_version,
            universe.advisory_id
    ) = 1

)

select * from newest_versions
