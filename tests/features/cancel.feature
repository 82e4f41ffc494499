Feature: Cancel a compute job
  As a user, I want to cancel a running compute job securely
  so that I can stop unnecessary resource usage.

  Background:
    Given a provider with room for one job
    And a user

  Rule: Only the owner of a job can cancel it

    Scenario: A stranger cannot cancel a job, nor learn that it is there
      Given a running job
      When a stranger asks to cancel the job by its id
      Then the command fails with exit code 3
      And the stranger is told what everybody is told about no job at all
      And the job is still running

    Scenario: A job that ended stays as it ended
      Given a completed job
      When the user cancels the job
      Then the command succeeds
      And the confirmation says that the job had ended as "completed"

  Rule: The provider ends the job and releases its resources

    Scenario: Cancelling a running job frees its room
      Given a running job
      When the user cancels the job
      Then the command succeeds
      And the provider shows all its room

    Scenario: A queued job can be cancelled too
      Given a running job
      And a queued job
      When the user cancels the queued job
      Then the command succeeds
      And the queued job is "cancelled"
      And the job is still running

  Rule: The user receives a signed confirmation

    Scenario: The confirmation names the job and its final state
      Given a running job
      When the user cancels the job
      Then the confirmation names the job, its owner and the state "cancelled"

    Scenario: Cancelling twice says so and harms nothing
      Given a running job
      When the user cancels the job
      And the user cancels the job
      Then the command succeeds
      And the confirmation names the job, its owner and the state "cancelled"
