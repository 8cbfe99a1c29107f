-- One row per source, package that the vendor ships, id, release and interval: what an upstream
-- says of it. Only the distribution's own ecosystem and the same source package count. Withdrawn
-- records, GIT ranges, last_affected and enumerated versions are left aside.
with tracker as (

    select * from {{ ref('stg_advisories__debian') }}

),

osv as (

    select * from {{ ref('stg_advisories__osv') }}
    where
        range_type = 'ECOSYSTEM'
        and last_affected is null
        and not is_withdrawn
        and split_part(ecosystem, ':', 1) = 'Debian'

),

shipped as (

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
        case
            when status = 'open' then 'open'
            when status = 'resolved' and fixed_version = '0' then 'not_affected'
            when status = 'resolved' and fixed_version is not null then 'fixed'
        end as statement,
        case when statement = 'fixed' then fixed_version end as fixed_version,
        case
            when statement = 'open' and is_ignored then 'ignored'
            when statement = 'open' and is_end_of_life then 'end of life'
        end as given_up,
        package_name || ':' || cve_id as record_id,
        source_sha256,
        source_row,
    from tracker

),

osv_placed as (

    select
        osv.*,
        coalesce(releases.release, osv.ecosystem) as release,
    from osv
    left join releases on osv.ecosystem = releases.ecosystem

),

osv_rows as (

    select
        'osv' as source,
        package_key,
        package_name,
        unnest(vulnerability_ids) as cve_id,
        release,
        ecosystem,
        case
            when fixed_version is not null then 'fixed'
            when introduced is not null then 'open'
        end as statement,
        fixed_version,
        case when fixed_version is null then introduced end as open_from_version,
        osv_id as record_id,
        modified_at as record_modified_at,
        source_sha256,
        source_row,
    from osv_placed

),

both_sources as (

    select * from tracker_rows
    union all by name
    select * from osv_rows
    where regexp_matches(cve_id, '^(CVE|TEMP)-')

),

placed as (

    select
        both_sources.* exclude (ecosystem),
        coalesce(both_sources.ecosystem, releases.ecosystem) as ecosystem,
        coalesce(releases.label, both_sources.release) as release_label,
        coalesce(releases.release_order, 0) as release_order,
        coalesce(releases.is_rolling, false) as is_rolling,
        releases.target_rank,
    from both_sources
    semi join shipped on both_sources.package_key = shipped.package_key
    left join releases on both_sources.release = releases.release
    where both_sources.statement is not null

)

select * from placed
