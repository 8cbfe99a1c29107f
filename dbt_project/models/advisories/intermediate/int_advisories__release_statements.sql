-- One row per advisory, source and release: what the source states about the release.
-- A release is fixed if any record names a fix, by the highest fix of several records. Where the
-- distribution's tracker lists a release, an OSV statement counts only if it says the same: the
-- OSV records are made from the distribution's advisories. A release that is undetermined in the
-- tracker is not listed by it.
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
    from upstream_rows
    inner join universe
        on
            upstream_rows.cve_id = universe.cve_id
            and upstream_rows.package_key = universe.package_key
    left join versions as fixes
        on
            upstream_rows.package_key = fixes.package_key
            and upstream_rows.fixed_version = fixes.version

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
        source_record,
    from rows_with_keys
    qualify row_number() over (
        partition by advisory_id, source, release
        order by
            -- The tracker has two statements only for a package in two spellings.
            source = 'debian' and statement = 'open' desc,
            statement != 'fixed',
            version_key desc,
            statement != 'open',
            wont_fix_reason is not null,
            record_id,
            source_record
    ) = 1

),

statements_with_tracker as (

    select
        *,
        max(statement) filter (where source = 'debian' and statement != 'undetermined')
            over in_release as tracker_statement,
        max(version_key) filter (where source = 'debian') over in_release as tracker_key,
        max(wont_fix_reason) filter (where source = 'debian') over in_release as tracker_reason,
    from release_statements
    window in_release as (partition by advisory_id, release)

),

joined_statements as (

    select * exclude (tracker_statement, tracker_key, tracker_reason)
    from statements_with_tracker
    where
        source = 'debian'
        or tracker_statement is null
        or (
            statement = tracker_statement
            and version_key is not distinct from tracker_key
            and tracker_reason is null
        )

)

select * from joined_statements
