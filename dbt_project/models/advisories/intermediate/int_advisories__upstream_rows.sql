-- One row per upstream source, package that the vendor ships, id, release and record.
with tracker as (

    select * from {{ ref('stg_advisories__debian') }}

),

osv as (

    select * from {{ ref('int_advisories__osv_statements') }}

),

vendor_packages as (

    select distinct package_key
    from {{ ref('int_advisories__universe') }}

),

releases as (

    select * from {{ ref('int_advisories__target_releases') }}

),

tracker_rows as (

    select
        'debian' as source,
        package_key,
        package_name,
        cve_id,
        release,
        -- The tracker writes version 0 where the release was never affected. A fix without a
        -- version, or another status, leaves the release open: no older fix may speak for it.
        case
            when status in ('open', 'undetermined') then status
            when status = 'resolved' and {{ is_version_zero('fixed_version') }} then 'not_affected'
            when status = 'resolved' and fixed_version is not null then 'fixed'
            else 'open'
        end as statement,
        case when statement = 'fixed' then fixed_version end as fixed_version,
        case
            when statement = 'open' and is_ignored then 'ignored'
            when statement = 'open' and is_end_of_life then 'end of life'
        end as wont_fix_reason,
        package_name || ':' || cve_id as record_id,
        source_record,
    from tracker

),

osv_with_release as (

    select
        osv.*,
        coalesce(numbers.release, code_names.release, osv.ecosystem) as release,
    from osv
    left join releases as numbers on osv.ecosystem = numbers.ecosystem
    -- The schema has numbers only; Debian:bookworm is a mistake, and no other release.
    left join releases as code_names
        on osv.ecosystem ilike 'Debian:' || code_names.release
    -- A number that is not known yet is a release of its own. Another name could be any release, so
    -- that the record does not say all about the package.
    qualify bool_and(
        coalesce(numbers.release, code_names.release) is not null
        or regexp_matches(osv.ecosystem, '^Debian:[1-9][0-9]*$')
    ) over (partition by osv.osv_id, osv.package_key)

),

osv_rows as (

    select
        'osv' as source,
        package_key,
        package_name,
        unnest(vulnerability_ids) as cve_id,
        release,
        ecosystem,
        statement,
        fixed_version,
        osv_id as record_id,
        modified_at as record_modified_at,
        source_record,
    from osv_with_release

),

source_rows as (

    select * from tracker_rows
    union all by name
    select * from osv_rows
    where regexp_matches(cve_id, '^(CVE-\d{4}-\d{4,}|TEMP-[0-9A-F]+-[0-9A-F]+)$')

),

upstream_rows as (

    select
        source_rows.* exclude (ecosystem),
        coalesce(source_rows.ecosystem, releases.ecosystem) as ecosystem,
        coalesce(releases.label, source_rows.release) as release_label,
        coalesce(releases.release_order, 0) as release_order,
        coalesce(releases.is_rolling, false) as is_rolling,
        releases.target_rank,
    from source_rows
    semi join vendor_packages on source_rows.package_key = vendor_packages.package_key
    left join releases on source_rows.release = releases.release
    where source_rows.statement is not null

)

select * from upstream_rows
