-- One row per advisory for which the vendor's feed names a fixed version or a sentinel.
-- A version below the distribution's own fix of the same lineage is a claim of its own, in which
-- tipped_by_* names the record of the fix.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

statements as (

    select * from {{ ref('int_advisories__release_statements') }}

),

versions as (

    select * from {{ ref('int_advisories__versions') }}

),

higher_distro_fixes as (

    select
        universe.advisory_id,
        statements.fixed_version || ' in ' || statements.release_label as detail,
        statements.source,
        statements.record_id,
    from universe
    inner join versions
        on
            universe.package_key = versions.package_key
            and universe.vendor_version = versions.version
    inner join statements
        on
            universe.advisory_id = statements.advisory_id
            -- Versions of different lineages have different fixes and do not compare.
            and versions.lineage = statements.lineage
            and versions.version_key < statements.version_key
    where statements.target_rank is not null
    qualify row_number() over (
        partition by universe.advisory_id
        order by
            statements.version_key,
            statements.release_label,
            statements.source,
            statements.record_id
    ) = 1

),

vendor_claims as (

    select
        universe.advisory_id,
        'echo' as source,
        case
            when universe.is_vendor_sentinel then 'vendor_sentinel'
            when higher_distro_fixes.advisory_id is null then 'vendor_fixed'
            else 'vendor_fixed_below_distro'
        end as claim,
        universe.vendor_version as version,
        higher_distro_fixes.detail,
        higher_distro_fixes.source as tipped_by_source,
        higher_distro_fixes.record_id as tipped_by_record,
        universe.advisory_id as record_id,
        universe.vendor_record as source_record,
    from universe
    left join higher_distro_fixes on universe.advisory_id = higher_distro_fixes.advisory_id
    where universe.is_vendor_sentinel or universe.vendor_version is not null

)

select * from vendor_claims
