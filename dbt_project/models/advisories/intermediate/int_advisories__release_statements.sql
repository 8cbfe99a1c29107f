-- One row per advisory, source and release: what the source states about the release.
-- A release is fixed if any record names a fix, by the highest fix of several records. It is open
-- again if a record has an interval without a fix that begins at or above the record's own fix.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

upstream_rows as (

    select * from {{ ref('int_advisories__upstream_rows') }}

),

versions as (

    select * from {{ ref('int_advisories__versions') }}

),

rows_with_keys as (

    select
        universe.advisory_id,
        upstream_rows.*,
        fixes.version_key,
        fixes.lineage,
        max(openings.version_key) over record_in_release as reopened_key,
        max(fixes.version_key) over record_in_release as record_fix_key,
    from upstream_rows
    inner join universe
        on
            upstream_rows.cve_id = universe.cve_id
            and upstream_rows.package_key = universe.package_key
    left join versions as fixes on upstream_rows.fixed_version = fixes.version
    left join versions as openings on upstream_rows.open_from_version = openings.version
    window record_in_release as (
        partition by
            universe.advisory_id,
            upstream_rows.source,
            upstream_rows.release,
            upstream_rows.record_id
    )

),

effective_rows as (

    select
        * exclude (statement, fixed_version, version_key, lineage),
        coalesce(reopened_key >= record_fix_key, false) as is_reopened,
        case when is_reopened then 'open' else statement end as statement,
        case when not is_reopened then fixed_version end as fixed_version,
        case when not is_reopened then version_key end as version_key,
        case when not is_reopened then lineage end as lineage,
    from rows_with_keys

),

release_statements as (

    select
        advisory_id,
        package_key,
        source,
        release,
        release_label,
        release_order,
        target_rank,
        is_rolling,
        statement,
        fixed_version,
        version_key,
        lineage,
        wont_fix_reason,
        ecosystem,
        record_id,
        record_modified_at,
        source_sha256,
        source_row,
    from effective_rows
    qualify row_number() over (
        partition by advisory_id, source, release
        order by
            statement != 'fixed',
            version_key desc,
            statement != 'open',
            wont_fix_reason is not null,
            record_id,
            source_row
    ) = 1

)

select * from release_statements
